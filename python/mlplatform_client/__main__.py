"""`python -m mlplatform_client`: the command `mlp`, where its script is not on the path."""

from mlplatform_client._command import main

if __name__ == "__main__":
    main()
