"""What every log and every directory must do."""
