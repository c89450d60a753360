"""A1111's answer taken apart, and compared with what was asked for."""
