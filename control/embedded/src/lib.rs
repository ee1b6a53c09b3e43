//! The database that Meridian starts itself.
