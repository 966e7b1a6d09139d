"""What registered marks cost in accuracy, and what they survive, on LeNet-5 and MNIST."""
