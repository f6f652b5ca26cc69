//! The calls of the broker traits as lists of byte strings, and their replies as trees of values: the `WEIR.*` commands.
