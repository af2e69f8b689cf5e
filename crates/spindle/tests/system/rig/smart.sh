#!/bin/sh
# Init of a User-mode Linux with two emulated SCSI drives: Spindle reads them through a real smartctl. Its environment is
# the kernel's command line: UML, the directory of the unpacked packages; SPINDLE and NATS, the programs.
export PATH="$UML/sbin:$UML/bin:$UML/usr/sbin:$UML/usr/bin:/usr/sbin:/usr/bin:/sbin:/bin"
export LD_LIBRARY_PATH="$UML/usr/lib/x86_64-linux-gnu:$UML/lib/x86_64-linux-gnu" HOME=/run
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t tmpfs tmp /run
mount -t devtmpfs dev /dev 2>/dev/null
echo rig >/proc/sys/kernel/hostname
ip link set lo up

# modprobe, under the name that kmod expects, with the modules of this kernel.
mkdir -p /run/modules/lib /run/bin
ln -s "$UML/usr/lib/uml/modules" /run/modules/lib/modules
ln -s "$UML/bin/kmod" /run/bin/modprobe
for module in sd_mod sg "scsi_debug dev_size_mb=32 add_host=2 num_tgts=1 max_luns=1 per_host_store=1"; do
  # shellcheck disable=SC2086 # a module and its parameters
  /run/bin/modprobe -d /run/modules $module
done

export SPINDLE_NATS_SERVER="$NATS" SPINDLE_DATA_DIR=/run/data SPINDLE_HTTP=127.0.0.1:0 SPINDLE_SMART_INTERVAL=200ms
"$SPINDLE" up --source smart --source host --interval 200ms >/run/log 2>&1 &

# await HEALTH DEVICE: waits until the drive has it.
await() {
  n=0
  while [ "$n" -lt 150 ]; do
    answer=$("$SPINDLE" query device_health "source_device=$2" --format json 2>&1)
    case "$(printf %s "$answer" | tr -d ' \n')" in *"\"health\":\"$1\""*) echo "RIG $2 is $1" && return ;; esac
    n=$((n + 1))
    sleep 0.2
  done
  echo "RIG $2 is not $1: $answer"
}

first=wwn-0x33333330000007d0
await ok "$first"
sdparm --quiet --set=TEST=1 /dev/sda
await critical "$first"
"$SPINDLE" query device_health "source_device=$first" --format json | tr -d '\n' | sed 's/^/RIG reasons /'
echo
sdparm --quiet --set=TEST=0 /dev/sda
await ok "$first"
"$SPINDLE" query devices --format json | tr -d '\n' | sed 's/^/RIG devices /'
echo
SPINDLE_SOURCES=smart "$SPINDLE" check --format json | tr -d '\n' | sed 's/^/RIG check /'
echo
sed 's/^/RIG log /' /run/log
echo o >/proc/sysrq-trigger
sleep 10
