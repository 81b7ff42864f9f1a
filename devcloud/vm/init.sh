#!/bin/busybox sh
# The VM's first process. Its settings are guest.* on the kernel's command line.
/bin/busybox --install -s /bin
export PATH=/bin
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
dmesg -n 1
for word in $(cat /proc/cmdline); do
    case $word in guest.*) eval "${word#guest.}" ;; esac
done
for module in /lib/*.ko; do insmod $module; done

ip link set lo up
echo 0 > /proc/sys/net/ipv6/conf/eth0/accept_dad
echo 0 > /proc/sys/net/ipv6/conf/eth0/accept_ra
ip link set eth0 mtu $mtu up
ip addr add $address4 dev eth0
ip route add default via $gateway4
ip addr add $address6 dev eth0
ip route add default via $gateway6

echo vm > /www/index.html
dd if=/dev/urandom of=/www/blob bs=65536 count=$((blob / 65536)) 2> /dev/null
httpd -p [::]:$open -h /www
httpd -p [::]:$blocked -h /www

cd /
while :; do
    setsid sh -c 'stty -echo; PS1= exec sh -i' < /dev/ttyS0 > /dev/ttyS0 2>&1
done
