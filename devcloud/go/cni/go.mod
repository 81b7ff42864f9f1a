module kuryr.openstack.org/devcloud/cni

go 1.25

require github.com/containernetworking/cni v1.3.0
