//! Ports of the roles on this machine.
//!
//! A role keeps its port over restarts as long as nobody else has taken it, so that what nodes remember of each other's addresses holds
//! from the first moment on.

use std::{
    cell::RefCell,
    collections::BTreeMap,
    fs,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::PathBuf,
};

use crate::exit::Failure;

pub struct Ports {
    file: PathBuf,
    remembered: BTreeMap<String, u16>,
    given: RefCell<BTreeMap<String, u16>>,
}

impl Ports {
    /// What the last start wrote to `file`; nothing, where it cannot be read.
    pub fn open(file: PathBuf) -> Self {
        let remembered = fs::read_to_string(&file).ok().and_then(|text| toml::from_str(&text).ok());
        Self { file, remembered: remembered.unwrap_or_default(), given: RefCell::default() }
    }

    /// An address that is free now. Another program may take it before its role binds it; the role then says so.
    pub fn give(&self, role: &str) -> Result<SocketAddr, Failure> {
        let port = match self.remembered.get(role) {
            Some(port) if TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok() => *port,
            Some(_) | None => self.fresh()?,
        };
        self.given.borrow_mut().insert(role.to_owned(), port);
        Ok((Ipv4Addr::LOCALHOST, port).into())
    }

    /// A port that no other role has or may want back.
    fn fresh(&self) -> Result<u16, Failure> {
        loop {
            let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
            if !self.remembered.values().chain(self.given.borrow().values()).any(|known| *known == port) {
                return Ok(port);
            }
        }
    }

    pub fn save(&self) -> Result<(), Failure> {
        fs::write(&self.file, toml::to_string(&*self.given.borrow())?)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_role_keeps_its_port_until_somebody_else_has_it() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("ports.toml");
        let first = Ports::open(file.clone());
        let (web, agent) = (first.give("web").unwrap(), first.give("agent-london-1").unwrap());
        assert_ne!(web, agent);
        first.save().unwrap();

        let second = Ports::open(file.clone());
        assert_eq!(second.give("web").unwrap(), web);
        let _taken = TcpListener::bind(agent).unwrap();
        let moved = second.give("agent-london-1").unwrap();
        assert!(moved != agent && moved != web);
        second.save().unwrap();
        assert_eq!(Ports::open(file).give("agent-london-1").unwrap(), moved);
    }
}
