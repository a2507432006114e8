#!/bin/sh
# Runs as root of a user namespace, in new mount, process and network namespaces. Sets up the few files that a build may
# see, makes them the root folder, and runs the command.
# Usage: view.sh ROOT WORK IMAGES HOSTS NETWORK COMMANDS COMMAND..
set -e
root=$1 work=$2 images=$3 hosts=$4 network=$5 network_commands=$6
shift 6
mount -t tmpfs -o size=64m,mode=755 tmpfs "$root"
cd "$root"
mkdir -p usr etc/containers proc dev sys tmp run var/tmp var/lib work old

for name in bin sbin lib lib32 lib64 libx32; do
    if [ -L "/$name" ]; then ln -s "$(readlink "/$name")" "$name"
    elif [ -d "/$name" ]; then mkdir "$name"; mount --rbind "/$name" "$name"; mount -o remount,bind,ro "$name"; fi
done
mount --rbind /usr usr
mount -o remount,bind,ro usr
for name in ssl/certs ca-certificates alternatives ld.so.cache ld.so.conf mime.types; do
    [ -e "/etc/$name" ] || continue
    if [ -d "/etc/$name" ]; then mkdir -p "etc/$name"; else : > "etc/$name"; fi
    mount --rbind "/etc/$name" "etc/$name"
done

for name in null zero full random urandom tty; do : > "dev/$name"; mount --bind "/dev/$name" "dev/$name"; done
mkdir dev/pts dev/shm
mount -t devpts -o newinstance,ptmxmode=0666,mode=620 devpts dev/pts
mount -t tmpfs -o size=64m,mode=1777 tmpfs dev/shm
ln -s pts/ptmx dev/ptmx
ln -s /proc/self/fd dev/fd
ln -s /proc/self/fd/0 dev/stdin
ln -s /proc/self/fd/1 dev/stdout
ln -s /proc/self/fd/2 dev/stderr
mount --rbind "$work" work
if [ -n "$images" ]; then
    mkdir images
    mount --rbind "$images" images
    # For a worker that is not root; for others, it is already read-only for good.
    mount -o remount,bind,ro images
fi
mkdir -p work/tmp work/home
mount --bind work/tmp tmp
mount --bind work/tmp var/tmp
mount -t proc -o nosuid,nodev,noexec proc proc
mount -t sysfs -o ro,nosuid,nodev,noexec sysfs sys 2>/dev/null || :

printf 'root:x:0:0:root:/work/home:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n' > etc/passwd
printf 'root:x:0:\nnogroup:x:65534:\n' > etc/group
printf 'passwd: files\ngroup: files\nhosts: files dns\n' > etc/nsswitch.conf
printf '127.0.0.1 localhost\n::1 localhost\n%s\n' "$hosts" > etc/hosts
printf '{"default":[{"type":"insecureAcceptAnything"}]}\n' > etc/containers/policy.json
if [ -f work/home/registries.conf ]; then cp work/home/registries.conf etc/containers/registries.conf; fi
if [ "$network" = open ]; then printf 'nameserver 10.0.2.3\n' > etc/resolv.conf; else : > etc/resolv.conf; fi

pivot_root . old
cd /
umount -l /old
rmdir /old
chmod 1777 /work/tmp

ip link set lo up
if [ "$network" = open ]; then
    tries=0
    until ip -o link show tap0 >/dev/null 2>&1; do
        tries=$((tries + 1))
        [ $tries -lt 500 ] || { echo "the network of the sandbox did not come up" >&2; exit 125; }
        sleep 0.02
    done
    printf '%s\n' "$network_commands" | ip -batch - >&2 || exit 125
fi
cd /work
exec setpriv --pdeathsig KILL --bounding-set -net_admin,-net_raw,-sys_module,-sys_time,-sys_boot,-sys_ptrace,-mknod \
    --inh-caps -net_admin,-net_raw,-sys_module,-sys_time,-sys_boot,-sys_ptrace,-mknod \
    --ambient-caps -all -- "$@"
