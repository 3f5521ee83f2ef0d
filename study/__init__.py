"""Many runs: the only home of Ray and Optuna."""
