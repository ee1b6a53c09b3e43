//! The program that runs inside a workspace, as the workspace's own user: it starts the display server and the
//! workspace's program, and it is the agent's other half for what RFB alone cannot carry.
//!
//! * `meridian-helper run [--window CLASS]... [--focus CLASS] -- PROGRAM [ARGS]` is a workspace's entry point. It ends when the
//!   program or the display server ends, and with it the container.
//! * `meridian-helper health` exits 0 when a person who looked at the workspace now would see something.
//!
//! Everything here runs with the rights of a user who may be hostile, so nothing in it guards anything: policy on
//! clipboard and input is the agent's. What the helper owes is to be bounded and to cost nothing while idle: it
//! waits on sockets and never polls.
//!
//! It is linked statically, so that one build fits every image, whatever C library that has.

mod agent_socket;
mod clipboard;
mod frame;
mod health;
mod home;
mod options;
mod readiness;
mod supervisor;
mod windows;
mod wire;
mod x11;

use std::io::Write;
use std::process::ExitCode;

use options::Command;

fn main() -> ExitCode {
    match options::parse(std::env::args_os().skip(1)) {
        Ok(Command::Run(run)) => match supervisor::run(&run) {
            Ok(code) => ExitCode::from(code),
            Err(error) => {
                report(&error);
                ExitCode::from(supervisor::EXIT_DISPLAY)
            }
        },
        Ok(Command::Health) => match health::check() {
            Ok(()) => ExitCode::SUCCESS,
            Err(reason) => {
                report(&reason);
                ExitCode::FAILURE
            }
        },
        Ok(Command::Help) => {
            // Nothing can be done about a reader that went away.
            let _ = std::io::stdout().write_all(options::USAGE.as_bytes());
            ExitCode::SUCCESS
        }
        Err(error) => {
            report(&error);
            ExitCode::from(2)
        }
    }
}

/// One line on standard error, which is the container's log.
fn report(message: &dyn std::fmt::Display) {
    let _ = writeln!(std::io::stderr(), "meridian-helper: {message}");
}
