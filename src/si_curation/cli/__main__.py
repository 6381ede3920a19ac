"""Run the command with ``python -m si_curation.cli``."""

from si_curation.cli.main import main

if __name__ == "__main__":
    main()
