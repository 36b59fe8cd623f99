//! Logins that a client waits for, by browser and by the device grant; in virtual time, and over sockets.

mod browser;
mod device;
mod missing_scopes;
mod over_sockets;
