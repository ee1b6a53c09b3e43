//! The command line, and the few settings that the agent gives through the container's environment.

use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;

use crate::windows::Expected;

pub(crate) const USAGE: &str = "\
usage: meridian-helper run [--window CLASS]... [--focus CLASS] -- PROGRAM [ARGUMENTS]
       meridian-helper health

run     start the display server, then PROGRAM on it; end when either ends
health  exit 0 when the workspace shows something, 1 with the reason otherwise

--window CLASS  a window of this class (see `xprop WM_CLASS`) must be on screen
                before the workspace counts as ready; may be given several times
--focus CLASS   the same, and the keyboard must be in that window

environment: MERIDIAN_GEOMETRY  first size of the display, as 1280x800
             MERIDIAN_NAME      the display's name, which VNC clients may show
";

/// Where agent and workspace meet. The agent mounts this directory into the container.
pub(crate) const STREAM_DIRECTORY: &str = "/run/stream";
pub(crate) const RFB_SOCKET: &str = "/run/stream/rfb.sock";
pub(crate) const HELPER_SOCKET: &str = "/run/stream/helper.sock";

const DEFAULT_GEOMETRY: Geometry = Geometry { width: 1280, height: 800 };
const GEOMETRY_LIMITS: std::ops::RangeInclusive<u16> = 64..=8192;

pub(crate) enum Command {
    Run(Run),
    Health,
    Help,
}

pub(crate) struct Run {
    pub(crate) program: OsString,
    pub(crate) arguments: Vec<OsString>,
    /// Without which the workspace is not ready.
    pub(crate) expected: Expected,
    pub(crate) geometry: Geometry,
    pub(crate) name: String,
    pub(crate) home: Option<PathBuf>,
    /// Where programs keep sockets of their own; made by the helper when the environment names none.
    pub(crate) runtime_directory: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Geometry {
    pub(crate) width: u16,
    pub(crate) height: u16,
}

impl fmt::Display for Geometry {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}x{}", self.width, self.height)
    }
}

pub(crate) fn parse(arguments: impl Iterator<Item = OsString>) -> Result<Command, String> {
    let mut arguments = arguments;
    let Some(command) = arguments.next() else {
        return Err(format!("no command given\n{USAGE}"));
    };
    match command.to_str() {
        Some("run") => parse_run(arguments).map(Command::Run),
        Some("health") => Ok(Command::Health),
        Some("help" | "--help" | "-h") => Ok(Command::Help),
        _ => Err(format!("unknown command {}\n{USAGE}", command.display())),
    }
}

fn parse_run(mut arguments: impl Iterator<Item = OsString>) -> Result<Run, String> {
    let mut expected = Expected::default();
    loop {
        let Some(argument) = arguments.next() else {
            return Err(format!("`run` needs a program after `--`\n{USAGE}"));
        };
        match argument.to_str() {
            Some(option @ ("--window" | "--focus")) => {
                let class = arguments.next().and_then(|class| class.into_string().ok());
                let class = class.ok_or_else(|| format!("{option} needs the class of a window"))?;
                if option == "--focus" {
                    expected.focus = Some(class.clone());
                }
                expected.windows.push(class);
            }
            Some("--") => break,
            _ => return Err(format!("unknown argument {}\n{USAGE}", argument.display())),
        }
    }
    let program = arguments.next().ok_or_else(|| format!("`run` needs a program after `--`\n{USAGE}"))?;
    Ok(Run {
        program,
        arguments: arguments.collect(),
        expected,
        geometry: geometry_from(std::env::var_os("MERIDIAN_GEOMETRY"))?,
        name: name_from(std::env::var_os("MERIDIAN_NAME")),
        home: std::env::var_os("HOME").map(PathBuf::from),
        runtime_directory: std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from),
    })
}

fn geometry_from(value: Option<OsString>) -> Result<Geometry, String> {
    let Some(value) = value.filter(|value| !value.is_empty()) else {
        return Ok(DEFAULT_GEOMETRY);
    };
    value
        .to_str()
        .and_then(|text| text.split_once('x'))
        .and_then(|(width, height)| Some(Geometry { width: side(width)?, height: side(height)? }))
        .ok_or_else(|| {
            let (least, most) = GEOMETRY_LIMITS.into_inner();
            format!("MERIDIAN_GEOMETRY is WIDTHxHEIGHT, each from {least} to {most}, not {}", value.display())
        })
}

fn side(text: &str) -> Option<u16> {
    text.parse().ok().filter(|side| GEOMETRY_LIMITS.contains(side))
}

fn name_from(value: Option<OsString>) -> String {
    value
        .and_then(|name| name.into_string().ok())
        .filter(|name| !name.is_empty())
        .unwrap_or("Meridian".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse_words(words: &[&str]) -> Result<Command, String> {
        parse(words.iter().map(OsString::from))
    }

    #[test]
    fn everything_after_the_dashes_is_the_program() {
        let Ok(Command::Run(run)) =
            parse_words(&["run", "--window", "A", "--focus", "B", "--", "sh", "--", "-c"])
        else {
            panic!("not understood");
        };
        let expected = Expected { windows: vec!["A".into(), "B".into()], focus: Some("B".into()) };
        assert_eq!(run.expected, expected);
        assert_eq!(run.program, "sh");
        assert_eq!(run.arguments, ["--", "-c"]);
    }

    #[test]
    fn a_run_without_a_program_is_refused() {
        assert!(parse_words(&["run"]).is_err());
        assert!(parse_words(&["run", "--"]).is_err());
        assert!(parse_words(&["run", "--window"]).is_err());
        assert!(parse_words(&["run", "--focus"]).is_err());
        assert!(parse_words(&["run", "sh"]).is_err());
        assert!(parse_words(&["fly"]).is_err());
        assert!(parse_words(&[]).is_err());
    }

    #[test]
    fn a_geometry_is_two_sides_within_limits() {
        assert_eq!(geometry_from(None), Ok(DEFAULT_GEOMETRY));
        assert_eq!(geometry_from(Some("1920x1080".into())), Ok(Geometry { width: 1920, height: 1080 }));
        for wrong in ["1920", "x", "0x0", "63x800", "1280x8193", "70000x70000", "-1x5", "1280x800 -ac"] {
            assert!(geometry_from(Some(wrong.into())).is_err(), "{wrong} was taken");
        }
    }
}
