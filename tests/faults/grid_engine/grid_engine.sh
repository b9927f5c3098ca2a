#!/bin/bash
# A private Grid Engine of one node (sge_qmaster + sge_execd), from Debian's packages
# gridengine-master, gridengine-exec and gridengine-client; nothing of the machine's own is changed.
# usage: SGE_QMASTER_PORT=N SGE_EXECD_PORT=M grid_engine.sh up DIR   then: source DIR/env.sh
#        grid_engine.sh down DIR      deletes every job, ends the daemons by their numbers, and DIR
# Its jobs run as root, who starts it. The daemons listen on every address, which cannot be set, and
# answer the hosts alone that they know: this one.
set -euo pipefail
command=$1
mkdir -p "$2"
root=$(cd "$2" && pwd)
lib=/usr/lib/gridengine
host=$(hostname)

export SGE_ROOT=$root SGE_CELL=default SGE_ENABLE_COREDUMP=0
if [[ -s $root/env.sh ]]; then source "$root/env.sh"; fi

pid_of() { cat "$root/spool/qmaster/qmaster.pid" "$root"/spool/execd/*/execd.pid 2>/dev/null |
    while read -r pid; do
        # One that has ended, and nobody waits for, is listed with the state Z.
        [[ $(cat "/proc/$pid/stat" 2>/dev/null) == "$pid ($1) "[^ZX]* ]] && echo "$pid"
    done || true; }

configure() {
    local common=$root/$SGE_CELL/common
    mkdir -p "$root"/{bin,lib,utilbin,tmp,spool/qmaster/job_scripts,spool/execd,spooldb} "$common"
    for each in bin lib utilbin; do ln -sfn "$lib" "$root/$each/$(/usr/share/gridengine/util/arch)"; done
    ln -sfn /usr/share/gridengine/util "$root/util"
    cat >"$root/env.sh" <<END
export SGE_ROOT=$root SGE_CELL=default
export SGE_QMASTER_PORT=$SGE_QMASTER_PORT SGE_EXECD_PORT=$SGE_EXECD_PORT
END
    cat >"$common/bootstrap" <<END
admin_user              none
default_domain          none
ignore_fqdn             false
spooling_method         berkeleydb
spooling_lib            libspoolb
spooling_params         $root/spooldb
binary_path             $lib
qmaster_spool_dir       $root/spool/qmaster
security_mode           none
listener_threads        2
worker_threads          2
scheduler_threads       1
END
    echo "$host" >"$common/act_qmaster"
    echo "lab" >"$common/cluster_name"
    # The loopback address is called localhost, which is no name of a node.
    echo "$host localhost" >"$common/host_aliases"
    # Debian's own settings, but root's jobs are taken, what happens is known in seconds, and a job's
    # shell reads nobody's profile: what a killed one leaves of that may hold up the next.
    sed -e "s#^execd_spool_dir .*#execd_spool_dir $root/spool/execd#" \
        -e "s/^min_\([ug]id\) .*/min_\1 0/" -e "s/flush_time=[0-9:]*/flush_time=00:00:01/" \
        -e "s/^load_report_time .*/load_report_time 00:00:05/" -e "s/^login_shells .*/login_shells none/" \
        /usr/share/gridengine/default-configuration >"$root/configuration"
    "$lib/spoolinit" berkeleydb libspoolb "$root/spooldb" init
    "$lib/spooldefaults" configuration "$root/configuration"
    "$lib/spooldefaults" complexes /usr/share/gridengine/util/resources/centry
    "$lib/spooldefaults" usersets /usr/share/gridengine/util/resources/usersets
    "$lib/spooldefaults" managers root
}

add_queue() {
    qconf -as "$host"
    qconf -Ap /usr/share/gridengine/util/resources/pe/smp
    printf 'group_name @allhosts\nhostlist %s\n' "$host" >"$root/hosts"
    qconf -Ahgrp "$root/hosts"
    printf '%s\n' "name xas" "oticket 0" "fshare 0" "acl NONE" "xacl NONE" >"$root/project"
    qconf -Aprj "$root/project"
    {
        printf '%s\n' "qname all.q" "hostlist @allhosts" "seq_no 0" "nsuspend 1" \
            "suspend_interval 00:05:00" "priority 0" "min_cpu_interval 00:05:00" \
            "processors UNDEFINED" "qtype BATCH" "pe_list smp" "rerun TRUE" "slots 2" \
            "tmpdir $root/tmp" "shell /bin/sh" "shell_start_mode posix_compliant" \
            "notify 00:00:20" "initial_state default"
        for each in load_thresholds suspend_thresholds ckpt_list prolog epilog starter_method \
            suspend_method resume_method terminate_method owner_list user_lists xuser_lists \
            subordinate_list complex_values projects xprojects calendar; do
            echo "$each NONE"
        done
        for each in rt cpu fsize data stack core rss vmem; do
            printf '%s_%s INFINITY\n' s $each h $each
        done
    } >"$root/queue"
    qconf -Aq "$root/queue"
    qconf -ssconf | sed -e 's/^schedule_interval .*/schedule_interval 0:0:1/' \
        -e 's/^flush_\(.*\)_sec .*/flush_\1_sec 1/' \
        -e 's/^job_load_adjustments .*/job_load_adjustments NONE/' >"$root/scheduler"
    qconf -Msconf "$root/scheduler"
}

up() {
    [[ -s $root/env.sh ]] || configure
    [[ -n $(pid_of sge_qmaster) ]] || "$lib/sge_qmaster"
    for _ in $(seq 100); do qconf -sh >/dev/null 2>&1 && break; sleep 0.2; done
    qconf -sq all.q >/dev/null 2>&1 || add_queue
    [[ -n $(pid_of sge_execd) ]] || "$lib/sge_execd"
    for _ in $(seq 240); do
        # Without a state in the last column the queue takes jobs.
        qstat -f -q all.q 2>/dev/null | grep -qE "^all\.q@.* lx-[a-z0-9]+ *$" && break
        sleep 0.5
    done
    qstat -f -q all.q | grep -E "^all\.q@.* lx-[a-z0-9]+ *$"
}

down() {
    qdel -u '*' >/dev/null 2>&1 && sleep 2
    for name in sge_execd sge_qmaster; do
        for pid in $(pid_of $name); do
            kill "$pid"
            for _ in $(seq 50); do kill -0 "$pid" 2>/dev/null || break; sleep 0.1; done
            kill -9 "$pid" 2>/dev/null
        done
    done
    rm -rf "$root"
}

case $command in up) up ;; down) set +e; down ;; *) exit 2 ;; esac
