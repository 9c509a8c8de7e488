"""What an operator does: backups, and checks of files. Needs the store and, where it says so, a server's process."""
