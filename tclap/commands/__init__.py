"""The subcommands of `tclap`: each class is a command, its fields are the flags."""
