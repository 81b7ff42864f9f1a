//go:build tools

// Package tools pins the etcd server that the development cloud builds.
package tools

import _ "go.etcd.io/etcd/server/v3"
