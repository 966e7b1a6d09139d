"""What a thief does to a stolen network, one idea a file; an attack is handed what its adversary knows."""
