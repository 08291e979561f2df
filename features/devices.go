package features

import "strings"

// physicalDisk reports whether a block device is a disk of its own, not a
// partition, a mapping or memory. presets/node.toml says the same.
func physicalDisk(device string) bool {
	for _, prefix := range []string{"loop", "ram", "zram", "dm-", "md", "sr", "fd", "nbd"} {
		if strings.HasPrefix(device, prefix) {
			return false
		}
	}
	return device != "" && !partition(device)
}

// partition reports whether a device name ends in a partition's number: sda1,
// nvme0n1p2, mmcblk0p1; nvme0n1 and mmcblk0 are whole.
func partition(device string) bool {
	base := strings.TrimRight(device, "0123456789")
	if base == device {
		return false
	}
	if strings.HasPrefix(device, "nvme") || strings.HasPrefix(device, "mmcblk") {
		return strings.HasSuffix(base, "p")
	}
	for _, prefix := range []string{"sd", "hd", "vd", "xvd"} {
		if strings.HasPrefix(device, prefix) {
			return true
		}
	}
	return false
}

// physicalInterface reports whether traffic on a network interface is the
// node's own: not loopback, not a container's end, not a tunnel or bridge that
// would count the same bytes again. presets/node.toml says the same.
func physicalInterface(device string) bool {
	for _, prefix := range []string{"lo", "veth", "docker", "br-", "cni", "cali", "flannel", "cilium", "lxc", "virbr", "tap", "tun", "dummy", "ifb", "kube-", "nodelocaldns", "vxlan", "wg", "bond"} {
		if strings.HasPrefix(device, prefix) {
			return false
		}
	}
	return device != ""
}
