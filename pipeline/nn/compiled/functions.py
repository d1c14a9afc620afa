"""exp, log, tanh and sigmoid in float32, from fused multiply-adds: no C library is involved.

Each is within 2 units in the last place of the exact value, the sigmoid within 2.5. The polynomials
are from Cephes (Moshier 1989, https://www.netlib.org/cephes/: expf, logf, tanhf).
"""

from pipeline.nn.compiled.vectors import Vector, ints

_SHIFT = 1.5 * 2**23  # x + _SHIFT has no fraction bits left: it rounds x to an integer
_LN2_HIGH, _LN2_LOW = 0.693359375, -2.12194440e-4
_EXP = (
    1.9875691500e-4, 1.3981999507e-3, 8.3334519073e-3, 4.1665795894e-2, 1.6666665459e-1,
    5.0000001201e-1,
)  # fmt: skip
_LOG = (
    7.0376836292e-2, -1.1514610310e-1, 1.1676998740e-1, -1.2420140846e-1, 1.4249322787e-1,
    -1.6668057665e-1, 2.0000714765e-1, -2.4999993993e-1, 3.3333331174e-1,
)  # fmt: skip
_TANH = (
    -5.70498872745e-3, 2.06390887954e-2, -5.37397155531e-2, 1.33314422036e-1, -3.33332819422e-1,
)  # fmt: skip
_ROOT_HALF = 0x3F3504F3  # the bits of sqrt(1/2)


def _polynomial(x: Vector, coefficients: tuple[float, ...]) -> Vector:
    """Evaluate a polynomial by Horner's rule, highest power's coefficient first."""
    y = x.of(coefficients[0])
    for coefficient in coefficients[1:]:
        y = y.fma(x, coefficient)
    return y


def exp(x: Vector) -> Vector:
    """Return e^x. It is 0 or infinity beyond the range of float32."""
    x = x.where("<", -104.0, -104.0, x)
    x = x.where(">", 89.0, 89.0, x)
    n = x.fma(1.44269504088896341, _SHIFT) - _SHIFT
    r = n.fma(-_LN2_LOW, n.fma(-_LN2_HIGH, x))
    p = _polynomial(r, _EXP).fma(r * r, r) + 1.0
    half = n.fma(0.5, _SHIFT)  # 2^n as two factors, because n can be -150 or 128
    rest = n - (half - _SHIFT) + _SHIFT
    return p * _power_of_two(half) * _power_of_two(rest)


def _power_of_two(shifted: Vector) -> Vector:
    """Return 2^n for integers n, given n + _SHIFT, whose lowest bits are those of n."""
    builder = shifted.builder
    return shifted.of_bits(builder.shl(builder.add(shifted.bits(), ints(127)), ints(23)))


def log(x: Vector) -> Vector:
    """Return the natural logarithm of normal numbers > 0; infinity and NaN are returned as is."""
    builder = x.builder
    exponent = builder.ashr(builder.sub(x.bits(), ints(_ROOT_HALF)), ints(23))
    n = x.to_float(exponent)
    f = x.of_bits(builder.sub(x.bits(), builder.shl(exponent, ints(23)))) - 1.0
    z = f * f  # f + 1 is between sqrt(1/2) and sqrt(2)
    y = n.fma(_LN2_LOW, f * z * _polynomial(f, _LOG))
    y = n.fma(_LN2_HIGH, f + z.fma(-0.5, y))
    return x.where("<", float("inf"), y, x)


def tanh(x: Vector) -> Vector:
    """Return the hyperbolic tangent."""
    z, size = x * x, x.call("fabs")
    near = (_polynomial(z, _TANH) * z).fma(x, x)
    far = 1.0 - 2.0 / (exp(size + size) + 1.0)
    return size.where("<", 0.625, near, x.where("<", 0.0, 0.0 - far, far))


def sigmoid(x: Vector) -> Vector:
    """Return 1 / (1 + e^-x) without overflow."""
    e = exp(0.0 - x.call("fabs"))
    return x.where("<", 0.0, e, 1.0) / (1.0 + e)
