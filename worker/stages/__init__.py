"""What a job can consist of. Each stage takes a typed job and returns pictures with the truth about them."""
