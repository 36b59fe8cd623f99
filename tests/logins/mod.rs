//! The other ways in: logins, the device grant and taking grants over; in virtual time, and over sockets.

mod browser;
mod device;
mod missing_scopes;
mod over_sockets;
