"""What comes back from providers and customers: HTTP and mail in, records on ``provider-events`` out."""
