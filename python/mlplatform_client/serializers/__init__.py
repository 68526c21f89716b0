"""What methods take and return, in the reference library's places."""
