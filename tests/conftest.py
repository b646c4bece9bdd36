"""What every test may use. The servers come from the environment that `./dev test` sets."""
