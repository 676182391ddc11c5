//! What other launchers call what is done here in another way: for who types it from habit.

/// What does here what a command of other launchers does there.
pub(super) fn command(name: &str) -> Option<&'static str> {
    Some(match name {
        "attach" => "a pod runs in the foreground, with the standard streams of who runs it",
        "build" | "commit" | "push" => "skua makes no images; buildah, umoci and skopeo do",
        "cp" => {
            "a volume shares files with a pod; 'skua image extract IMAGE' writes those of an image"
        }
        "container" | "pod" => {
            "'skua run' makes a pod of one or more images, 'skua list' lists pods"
        }
        "create" => "'skua prepare IMAGE' makes a pod, 'skua run-prepared POD' runs it",
        "events" => {
            "'skua status --wait POD' waits for the end of a pod, and a unit's journal tells of it"
        }
        "exec" | "shell" => "'skua enter POD -- PROGRAM' runs a program in a pod",
        "help" => "skua --help lists the commands, skua COMMAND --help explains one",
        "images" => "'skua image list' lists images",
        "info" => "'skua config' prints the configuration, 'skua doctor' looks at the host",
        "inspect" => "'skua status POD' and 'skua cat-manifest POD' show a pod",
        "load" | "import" => "'skua fetch' takes oci-archive:FILE and docker-archive:FILE",
        "login" | "logout" => {
            "skua reads the auth.json of 'podman login' and 'skopeo login', and Docker's config.json"
        }
        "logs" => {
            "what apps print goes to where 'skua run' prints; of a unit, 'journalctl -u UNIT' shows it"
        }
        "ls" | "ps" => "'skua list' lists pods",
        "network" => {
            "a network is a file of net.d: 'skua config' lists them, and 'skua run --net' names one"
        }
        "pause" | "unpause" => {
            "a pod cannot be paused; of a unit, 'systemctl freeze UNIT' and 'systemctl thaw UNIT' do that"
        }
        "port" => "'skua status POD' shows what a pod publishes",
        "prune" | "system" => "'skua gc' removes old pods, 'skua image gc' what no image uses",
        "pull" => "'skua fetch IMAGE' fetches an image",
        "restart" => {
            "a pod runs once: 'skua stop POD', then 'skua run IMAGE'; of a unit, 'systemctl restart UNIT'"
        }
        "rmi" => "'skua image rm IMAGE' removes an image",
        "save" => "'skua image export IMAGE' writes an archive",
        "secret" => "--credential of 'skua run' gives an app a file of $CREDENTIALS_DIRECTORY",
        "start" => "'skua run-prepared POD' runs a prepared pod, 'skua run IMAGE' a new one",
        "stats" | "top" => {
            "'skua status POD' shows a pod; systemd-cgtop and ps of the host show its processes"
        }
        "tag" => "'skua fetch --as NAME' gives an image a name",
        "volume" => "a volume is a flag of the pod that has it: --volume of 'skua run'",
        "wait" => "'skua status --wait POD' waits for the end of a pod",
        _ => return None,
    })
}

/// What does here what a flag of other launchers does there, where images are run.
pub(super) fn flag_of_run(argument: &str) -> Option<&'static str> {
    Some(match argument {
        "-d" | "--detach" => {
            "a pod runs in the foreground: a unit, or 'systemd-run skua run …', puts it into the background"
        }
        "-t" | "--tty" => "-i before the image gives the app a terminal, when it is typed at one",
        "--add-host" | "--hosts-entry" => {
            "a file of hosts can be mounted: --volume ./hosts:/etc/hosts:ro, after the image"
        }
        "--annotation" | "--label" => {
            "a pod has a name and a UUID, and no labels: --name, --uuid-file-save"
        }
        "--cap-drop" => "--cap-remove, after the image, takes capabilities away",
        "--cgroupns" | "--ipc" | "--pid" | "--userns" | "--uts" => {
            "the apps of a pod share these namespaces, and nobody else does; --net=host is the host's network"
        }
        "--cidfile" | "--pidfile" => {
            "--uuid-file-save FILE, before the image, writes the pod's UUID"
        }
        "--dns" | "--dns-search" | "--dns-opt" | "--dns-option" => {
            "a file of name servers can be mounted: --volume ./resolv.conf:/etc/resolv.conf:ro, after the image"
        }
        "--entrypoint" => "--exec PROGRAM, after the image, takes the place of its entrypoint",
        "--env" | "--set-env" => {
            "-e NAME=VALUE or --environment NAME=VALUE, after the image, sets a variable"
        }
        "--env-file" => {
            "EnvironmentFile= of a unit, and --environment NAME after the image for each that the app gets"
        }
        "--group-add" => "--supplementary-groups, after the image, gives further groups",
        "--init" => "pid 1 of every pod is skua's own, and reaps",
        "--log-driver" | "--log-opt" => {
            "what apps print goes to where 'skua run' prints; of a unit, StandardOutput= says where"
        }
        "--port" => "--publish HOST:POD, before the image, publishes a port",
        "--privileged" => {
            "no pod has all rights: --cap-add, --device and --volume, after the image, give single ones"
        }
        "--read-only" => "--readonly-rootfs, after the image, makes its root read-only",
        "--restart" => "Restart= of a systemd unit starts a pod again",
        "--security-opt" => {
            "--seccomp, --apparmor, --selinux-label and --no-new-privileges, after the image, are these options"
        }
        "--tmpfs" => {
            "--volume NAME,kind=tmpfs before the image, and --mount volume=NAME,target=PATH after it"
        }
        "--ulimit" => "--rlimit NAME=SOFT[:HARD], after the image, sets a resource limit",
        _ => return None,
    })
}

/// The same, where a program is entered into a pod; and where the program stands.
pub(super) fn flag_of_enter(argument: &str) -> Option<&'static str> {
    Some(match argument {
        "-d" | "--detach" => "what enters runs in the foreground",
        "-i" | "-t" | "--interactive" | "--tty" => {
            "the program has a terminal of the pod when our standard input and output are one, without a flag"
        }
        "-u" | "--user" => "the program is the user that the app is",
        "-e" | "--env" | "--environment" => {
            "the program has the environment of the app: `-- env NAME=VALUE PROGRAM` adds to it"
        }
        "-w" | "--workdir" | "--working-dir" => {
            "the program begins in the app's directory: `-- sh -c 'cd DIR && PROGRAM'` goes elsewhere"
        }
        word if !word.starts_with('-') => "the program and its arguments stand after '--'",
        _ => return None,
    })
}
