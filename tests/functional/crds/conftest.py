# SPDX-License-Identifier: Apache-2.0
import pytest

from tests.functional.crds.kubectl import Kubectl
from tests.functional.kubernetes import KubernetesApi, MissingProgramError


@pytest.fixture
def kubectl(kubernetes_api: KubernetesApi) -> Kubectl:
    """kubectl on the shared API."""
    try:
        return Kubectl(kubernetes_api)
    except MissingProgramError as error:
        pytest.fail(str(error))
