"""What is measured. Each module measures one thing and adds it to the samples."""
