//! Child processes: argument vectors only, ended with the controller.
