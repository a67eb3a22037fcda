#!/bin/sh
# First process of a test host: builds its view of the machine and becomes its systemd.
#
#   boot.sh ROOT CAPABILITIES    started by keeper.py in new mount, PID, UTS, IPC, cgroup and network namespaces; ROOT is the host's
#                   disk (an overlay, mounted by the keeper). Nothing here can reach the machine's own mounts: all
#                   propagation from this namespace outwards is cut first.
set -eu
root=$1 capabilities=$2

# Slave, not private: a small disk that the keeper mounts under ROOT later must appear in the running host.
mount --make-rslave /

mount -t proc -o nosuid,nodev,noexec proc "$root/proc"
mount -t sysfs -o ro,nosuid,nodev,noexec sysfs "$root/sys"
mount -t tmpfs -o mode=0755,nosuid,nodev,size=25% tmpfs "$root/run"
mount -t tmpfs -o mode=1777,nosuid,nodev,size=25% tmpfs "$root/tmp"

# Its own cgroup tree: with cgroup2 here systemd asks for none of the version 1 hierarchies.
mount -t cgroup2 -o nosuid,nodev,noexec cgroup2 "$root/sys/fs/cgroup"

# Devices that belong to nobody. Never the machine's disks, consoles or kvm.
mount -t tmpfs -o mode=0755,nosuid,size=1m tmpfs "$root/dev"
for device in null:3 zero:5 full:7 random:8 urandom:9; do
    mknod -m 0666 "$root/dev/${device%:*}" c 1 "${device#*:}"
done
mknod -m 0666 "$root/dev/tty" c 5 0
mkdir "$root/dev/pts" "$root/dev/shm" "$root/dev/mqueue"
mount -t devpts -o newinstance,ptmxmode=0666,mode=0620,gid=5,nosuid,noexec devpts "$root/dev/pts"
mount -t tmpfs -o mode=1777,nosuid,nodev,size=25% tmpfs "$root/dev/shm"
ln -s pts/ptmx "$root/dev/ptmx"
ln -s /proc/self/fd "$root/dev/fd"
ln -s /proc/self/fd/0 "$root/dev/stdin"
ln -s /proc/self/fd/1 "$root/dev/stdout"
ln -s /proc/self/fd/2 "$root/dev/stderr"

# The kernel is the machine's: its settings are to be read, not written. Each boot has an id of its own, as on hardware.
mount --bind "$root/proc/sys" "$root/proc/sys"
mount -o remount,bind,ro "$root/proc/sys"
mkdir "$root/run/host"
cat /proc/sys/kernel/random/uuid >"$root/run/host/boot_id"
mount --bind -o ro "$root/run/host/boot_id" "$root/proc/sys/kernel/random/boot_id"
for hidden in sysrq-trigger kmsg kcore; do
    if [ -e "$root/proc/$hidden" ]; then mount --bind "$root/dev/null" "$root/proc/$hidden"; fi
done

cd "$root"
pivot_root . .
umount -l .
cd /

# Never more rights than the keeper lets a host have.
exec env -i container=other PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    setpriv --bounding-set="$capabilities" /lib/systemd/systemd --log-target=journal
