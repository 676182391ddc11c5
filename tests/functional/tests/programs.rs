//! Which program of an image is executed when its path is relative: what the working directory makes of it, as for any program.

use functional::{Env, Image, Layer, User};

#[test]
fn a_relative_path_begins_at_the_working_directory() {
    let files = Layer::new()
        .symlink("bin/tool", "/inspect")
        .symlink("bin/above", "../inspect");
    let image = Image::inspect().layer(files).build();
    for user in User::all() {
        let env = Env::new(user);
        let name = env.layout(&image);
        for program in ["./tool", "./above", "../inspect", "../bin/tool"] {
            let exec = format!("--exec={program}");
            let run = ["--insecure-options=image", "run", "--net=none", "--rm"];
            let app = [&name, "--working-dir=/bin", &exec, "--", "exit", "7"];
            env.skua(&[&run[..], &app].concat()).exits(7);
        }
    }
}

/// A link of `/proc` to what a process has open, or runs, leads to more than a name in the image.
#[test]
fn a_relative_path_does_not_lead_through_what_a_process_has_open() {
    let image = Image::inspect().build();
    for user in User::all() {
        let env = Env::new(user);
        let name = env.layout(&image);
        for program in ["self/exe", "./self/root/inspect", "1/exe"] {
            let exec = format!("--exec={program}");
            let run = ["--insecure-options=image", "run", "--net=none", "--rm"];
            let app = [&name, "--working-dir=/proc", &exec, "--", "exit", "7"];
            env.skua(&[&run[..], &app].concat())
                .fails(&["cannot execute", program]);
        }
    }
}
