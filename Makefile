# SPDX-License-Identifier: Apache-2.0
PYTHON ?= python3
.PHONY: help up down status logs demo env test test-unit test-functional test-e2e lint bench soak churn

help:
	@echo 'make up        the development cloud: OpenStack, Kubernetes, Kuryr, a VM (as root; DEMO=no leaves out the demo)'
	@echo 'make demo      pods and a VM talk to each other: the proof, on the running cloud'
	@echo 'make status    what is up and what is not        make logs [NAME=keystone]   the logs'
	@echo 'make down      stop it and leave nothing behind  eval "$$(make env)"          kubectl and openstack'
	@echo 'make test      all tests; or test-unit, test-functional, test-e2e, lint, bench, soak, churn'

up:
	@$(PYTHON) -m devcloud up $(if $(filter no,$(DEMO)),--no-demo)
down:
	@$(PYTHON) -m devcloud down
status:
	@$(PYTHON) -m devcloud status
logs:
	@$(PYTHON) -m devcloud logs $(NAME)
demo:
	@$(PYTHON) -m devcloud demo
env:
	@$(PYTHON) -m devcloud env

test:
	@tools/test.sh all
test-unit:
	@tools/test.sh unit
test-functional:
	@tools/test.sh functional
test-e2e:
	@tools/test.sh e2e
lint:
	@tools/lint.sh
bench:
	@tools/bench.sh
soak:
	@tools/soak.sh
churn:
	@tools/churn.sh
