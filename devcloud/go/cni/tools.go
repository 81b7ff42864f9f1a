//go:build tools

// Package tools pins cnitool, with which the CNI tests speak versions newer than the container runtime's.
package tools

import _ "github.com/containernetworking/cni/cnitool"
