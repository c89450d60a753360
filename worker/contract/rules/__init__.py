"""Rules between fields, sizes, and the syntax of prompts."""
