//! `--uuid-file-save`: a file is replaced whole, and nothing else is replaced.

use std::fs::{self, File};
use std::os::unix::fs::{FileTypeExt, lchown, symlink};
use std::path::Path;
use std::process::{Command, Stdio};

use functional::{Env, Image, Run, User};
use nix::sys::stat::{Mode, SFlag, makedev, mknod};
use nix::unistd::mkfifo;

/// Prepares a pod whose UUID goes to `file`; what was printed, which is the UUID.
fn prepare(env: &Env, file: &Path) -> String {
    let run = Run::of(command(env, file)).success();
    assert_eq!(run.stdout.lines().count(), 1, "{}", run.report());
    run.stdout
}

fn command(env: &Env, file: &Path) -> Command {
    let image = env.layout(&Image::inspect().build());
    let save = format!("--uuid-file-save={}", file.display());
    env.command(&[
        "--insecure-options=image",
        "prepare",
        &save,
        &image,
        "--",
        "exit",
        "0",
    ])
}

fn content(file: &Path) -> String {
    fs::read_to_string(file).expect("read a file")
}

#[test]
fn a_link_stays_and_what_it_points_to_is_written() {
    let env = Env::new(User::ordinary());
    for there in [true, false] {
        let (link, target) = (env.scratch("link"), env.scratch("target"));
        if there {
            env.write("target", "old");
        }
        // Relative: to where the link is, not to where we are.
        symlink("target", &link).expect("make a link");
        let id = prepare(&env, &link);
        assert!(link.is_symlink());
        assert_eq!(content(&target), id);
        fs::remove_file(&link).expect("remove the link");
        fs::remove_file(&target).expect("remove the target");
    }
    symlink("loop", env.scratch("loop")).expect("make a link");
    Run::of(command(&env, &env.scratch("loop"))).fails(&["loop: ", "symbolic link"]);
}

/// In `/tmp` it may have been put there after the kernel looked.
#[test]
fn privileged_a_link_of_another_user_leads_nowhere() {
    let Some(root) = User::root("privileged_a_link_of_another_user_leads_nowhere") else {
        return;
    };
    let env = Env::new(root);
    let (link, target) = (env.scratch("link"), env.write("target", "precious"));
    symlink(&target, &link).expect("make a link");
    let (uid, gid) = User::Subordinate.ids();
    lchown(&link, Some(uid), Some(gid)).expect("chown");
    Run::of(command(&env, &link)).fails(&["link: Permission denied"]);
    assert_eq!(content(&target), "precious");
    fs::remove_file(&target).expect("remove the target");
    Run::of(command(&env, &link)).fails(&["link: "]);
    assert!(!target.exists());
}

#[test]
fn a_fifo_is_written_to() {
    let env = Env::new(User::ordinary());
    let fifo = env.scratch("fifo");
    mkfifo(&fifo, Mode::S_IRWXU).expect("make a fifo");
    env.give(&fifo);
    let reader = Command::new("timeout")
        .args(["60", "cat"])
        .arg(&fifo)
        .stdout(Stdio::piped())
        .spawn()
        .expect("start cat");
    let id = prepare(&env, &fifo);
    let read = reader.wait_with_output().expect("wait for cat");
    assert_eq!(String::from_utf8_lossy(&read.stdout), id);
    let found = fs::symlink_metadata(&fifo).expect("the fifo");
    assert!(found.file_type().is_fifo());
}

#[test]
fn privileged_a_device_stays_a_device() {
    let Some(root) = User::root("privileged_a_device_stays_a_device") else {
        return;
    };
    let env = Env::new(root);
    // As /dev/null, but nobody else's.
    let device = env.scratch("null");
    let made = mknod(&device, SFlag::S_IFCHR, Mode::S_IRWXU, makedev(1, 3));
    made.expect("make a device");
    prepare(&env, &device);
    let found = fs::symlink_metadata(&device).expect("the device");
    assert!(found.file_type().is_char_device());
    let full = env.scratch("full");
    mknod(&full, SFlag::S_IFCHR, Mode::S_IRWXU, makedev(1, 7)).expect("make a device");
    let before = fs::read_dir(env.data().join("pods/prepared")).map(Iterator::count);
    Run::of(command(&env, &full)).fails(&["full: No space left"]);
    let after = fs::read_dir(env.data().join("pods/prepared")).map(Iterator::count);
    assert_eq!(before.expect("pods"), after.expect("pods"));
}

#[test]
fn our_standard_output_is_written_to_whatever_it_is() {
    let env = Env::new(User::ordinary());
    for path in ["/dev/stdout", "/proc/self/fd/1"] {
        // A pipe.
        let run = Run::of(command(&env, Path::new(path))).success();
        let lines: Vec<&str> = run.stdout.lines().collect();
        assert!(lines.len() == 2 && lines[0] == lines[1], "{}", run.report());
        // A file.
        let file = env.write("out", "");
        let mut command = command(&env, Path::new(path));
        command.stdout(File::create(&file).expect("open a file"));
        let status = command.status().expect("run skua");
        assert!(status.success());
        let text = content(&file);
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines.len() == 2 && lines[0] == lines[1], "{text}");
    }
}

#[test]
fn what_a_shell_opens_for_us_is_written_to() {
    let env = Env::new(User::ordinary());
    let file = env.scratch("copy");
    let plain = command(&env, Path::new("/dev/fd/9"));
    let line: Vec<_> = plain.get_args().map(std::ffi::OsStr::to_owned).collect();
    let mut shell = env.program("bash");
    // Waits for what it has started, which `>(…)` alone does not.
    shell
        .args([
            "-c",
            "out=$1; shift; \"$@\" 9> >(cat >\"$out\"); wait $!",
            "-",
        ])
        .arg(&file)
        .arg(plain.get_program())
        .args(line);
    let run = Run::of(shell);
    assert_eq!(run.stdout.lines().count(), 1, "{}", run.report());
    assert_eq!(content(&file), run.stdout);
}

#[test]
fn a_directory_and_what_is_not_there_are_refused() {
    let env = Env::new(User::ordinary());
    Run::of(command(&env, &env.home())).fails(&["home: Is a directory"]);
    Run::of(command(&env, Path::new("/nowhere/uuid"))).fails(&["/nowhere/uuid: No such file"]);
}
