#!/bin/sh
# Runs as root of a user namespace, in new mount, process and network namespaces. Sets up the few files that a build may
# see, makes them the root folder, and runs the command.
# It starts few programs, because it runs several times in each build: one mount does what a table lists.
# Usage: view.sh ROOT WORK IMAGES HOSTS NETWORK COMMANDS COMMAND..; WORK and IMAGES are as in fstab(5).
set -e
root=$1 work=$2 images=$3 hosts=$4 network=$5 network_commands=$6
shift 6
mount -t tmpfs -o size=64m,mode=755 tmpfs "$root"
cd "$root"

folders='usr etc/containers proc dev/pts dev/shm sys tmp run var/tmp var/lib work old'
links='' programs=usr table="$work work none rbind
${images:+$images images none rbind}
devpts dev/pts devpts newinstance,ptmxmode=0666,mode=620
tmpfs dev/shm tmpfs size=64m,mode=1777
proc proc proc nosuid,nodev,noexec"
bind() { table="$table
/$1 $1 none rbind"; }

bind usr
for name in bin sbin lib lib32 lib64 libx32; do
    if [ -L "/$name" ]; then links="$links /$name"
    elif [ -d "/$name" ]; then folders="$folders $name" programs="$programs $name"; bind "$name"; fi
done
for name in ssl/certs ca-certificates alternatives; do
    [ ! -d "/etc/$name" ] || { folders="$folders etc/$name"; bind "etc/$name"; }
done
mkdir -p $folders ${images:+images}
for name in etc/ld.so.cache etc/ld.so.conf etc/mime.types dev/null dev/zero dev/full dev/random dev/urandom dev/tty; do
    [ ! -e "/$name" ] || { : > "$name"; bind "$name"; }
done
# The build's own /tmp comes over this one.
printf '%s\n' "$table" > tmp/table
mount --all --fstab tmp/table
: > tmp/table
for name in $programs; do mount -o remount,bind,ro "$name"; done
[ -z "$links" ] || cp -P $links .
ln -s pts/ptmx /proc/self/fd dev
ln -s /proc/self/fd/0 dev/stdin
ln -s /proc/self/fd/1 dev/stdout
ln -s /proc/self/fd/2 dev/stderr
# For a worker that is not root; for others, the images are already read-only for good.
[ -z "$images" ] || mount -o remount,bind,ro images
mount -t sysfs -o ro,nosuid,nodev,noexec sysfs sys 2>/dev/null || :

printf 'root:x:0:0:root:/work/home:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n' > etc/passwd
printf 'root:x:0:\nnogroup:x:65534:\n' > etc/group
printf 'passwd: files\ngroup: files\nhosts: files dns\n' > etc/nsswitch.conf
printf '127.0.0.1 localhost\n::1 localhost\n%s\n' "$hosts" > etc/hosts
printf '{"default":[{"type":"insecureAcceptAnything"}]}\n' > etc/containers/policy.json
if [ "$network" = open ]; then printf 'nameserver 10.0.2.3\n' > etc/resolv.conf; else : > etc/resolv.conf; fi

pivot_root . old
cd /
umount -l /old
rmdir /old
# Only now use what is in the work folder: a link that a build left there leads nowhere on the host any more.
[ -d /work/tmp ] || mkdir -m 1777 /work/tmp
[ -d /work/home ] || mkdir /work/home
mount --bind /work/tmp /tmp
mount --bind /work/tmp /var/tmp
if [ -f /work/home/registries.conf ]; then cp /work/home/registries.conf /etc/containers/registries.conf; fi

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
