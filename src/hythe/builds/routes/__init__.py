"""The addresses of Trusted Builds: the JSON API, the live log, the badge, the trigger URL, the workers' protocol."""
