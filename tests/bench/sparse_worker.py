"""Layers of PyTorch, which sparse_peer.py starts and times beside Fern's sparse one.

A worker first names its program and modes, {"program": ..., "modes": [...]}, then answers every line it reads,
{"mode", "outputs", "inputs", "tokens", "density", "calls"}, with the seconds of forward + dX + dW of that many calls,
{"seconds": [...]}, or with {"error": ...}. All of it is JSON, a line each. A worker for another program calls serve()
with layers of its own.
"""
import json
import sys
import time
import warnings

import torch
import torch.nn.functional as F

warnings.filterwarnings("ignore", message="Sparse CSR tensor support is in beta")


class AutogradLayer:
    """A layer from the weights of a masked dense one. Derived classes have self.weight and say what y(x) is."""

    def __init__(self, w, mask, x, dy):
        self.x, self.dy = x.clone().requires_grad_(), dy

    def forward(self):
        self.y = self.output(self.x)

    def backward(self):
        self.dx, self.dw = torch.autograd.grad(self.y, (self.x, self.weight), self.dy)

    def results(self):
        """y, dX and, of the weights that exist in their row-major order, dW."""
        return self.y.detach(), self.dx, self.dw


class Dense(AutogradLayer):
    def __init__(self, w, mask, x, dy):
        super().__init__(w, mask, x, dy)
        self.weight, self.mask = (w * mask).requires_grad_(), mask

    def output(self, x):
        return F.linear(x, self.weight)

    def results(self):
        return self.y.detach(), self.dx, self.dw[self.mask]


class Masked(Dense):
    """What RigL's and other simulations do: the mask multiplies the weight, and by that its gradient too."""

    def __init__(self, w, mask, x, dy):
        super().__init__(w, mask, x, dy)
        self.factors = mask.float()

    def output(self, x):
        return F.linear(x, self.weight * self.factors)


class Csr(AutogradLayer):
    """The fastest of PyTorch's sparse products whose gradient is sparse too (SGD takes it; AdamW does not)."""

    def __init__(self, w, mask, x, dy):
        super().__init__(w, mask, x, dy)
        self.weight = (w * mask).to_sparse_csr().requires_grad_()

    def output(self, x):
        return torch.sparse.mm(self.weight, x.t()).t()

    def results(self):
        return self.y.detach(), self.dx, self.dw.values()


def check(layer, w, mask, x, dy):
    """Refuses a layer that computes something else than the masked dense one."""
    expected = F.linear(x, w * mask), dy @ (w * mask), (dy.t() @ x)[mask]
    for name, value, right in zip(("y", "dX", "dW"), layer.results(), expected):
        error = ((value - right).norm() / right.norm()).item()
        if not error < 1e-5:
            raise RuntimeError(f"{type(layer).__name__} {name} is off by {error:.1e} of its norm")


def call(layer):
    begin = time.perf_counter()
    layer.forward()
    layer.backward()
    return time.perf_counter() - begin


def make(layer_class, request):
    torch.manual_seed(1)
    outputs, inputs, tokens = request["outputs"], request["inputs"], request["tokens"]
    w, x, dy = torch.randn(outputs, inputs), torch.randn(tokens, inputs), torch.randn(tokens, outputs)
    mask = torch.rand(outputs, inputs) < request["density"]
    layer = layer_class(w, mask, x, dy)
    call(layer)
    check(layer, w, mask, x, dy)
    return layer


def serve(program, layer_classes):
    def say(**values):
        print(json.dumps(values), flush=True)
    say(program=program, modes=list(layer_classes))
    made, layers = None, {}
    for line in sys.stdin:
        request = json.loads(line)
        mode, calls = request.pop("mode"), request.pop("calls")
        if made != request:  # one shape and density at a time, to hold no memory for others
            made, layers = request, {}
        try:
            if mode not in layers:
                layers[mode] = make(layer_classes[mode], request)
            call(layers[mode])  # not counted: it warms up
            say(seconds=[call(layers[mode]) for _ in range(calls)])
        except RuntimeError as error:
            say(error=str(error))


if __name__ == "__main__":
    serve(f"PyTorch {torch.__version__}", {"dense": Dense, "masked": Masked, "CSR": Csr})
