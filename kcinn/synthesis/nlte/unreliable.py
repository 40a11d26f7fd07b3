"""Where the embedded engine cannot be right for any star, and why."""

from __future__ import annotations

# Windows of lines that the list has much too strong, and of lines that it lacks or has much too weak. There the
# synthetic Sun in LTE is deeper, or shallower, than a HARPS and a UVES spectrum of the Sun by more than 0.15 of the
# continuum; below 4360 angstrom than HARPS alone by more than 0.3. They reach as far as the two differ by 0.04.
_TOO_STRONG = (
    (3949.65, 3949.92), (3951.49, 3951.79), (3981.57, 3981.93), (3993.46, 3994.12), (4068.90, 4069.27),
    (4095.41, 4095.61), (4199.99, 4200.23), (4203.42, 4203.92), (4216.39, 4216.61), (4233.92, 4234.15),
    (4235.27, 4235.52), (5185.62, 5185.83), (5245.46, 5245.81), (5255.57, 5255.85), (5258.95, 5259.25),
    (5273.49, 5273.75), (5277.17, 5277.43), (5326.67, 5326.89), (5382.37, 5382.63), (5493.22, 5493.54),
    (5505.59, 5505.84), (5521.09, 5521.42), (5523.87, 5524.08), (5549.43, 5549.67), (5561.14, 5561.34),
    (5561.94, 5562.27), (5583.78, 5584.07), (5584.11, 5584.41), (5597.83, 5598.05), (5608.85, 5609.09),
    (5643.85, 5644.18), (5645.71, 5645.95), (5667.56, 5667.79), (5720.82, 5721.18), (6107.19, 6107.45),
    (6129.44, 6129.73), (6159.22, 6159.54), (6214.48, 6214.70), (6215.27, 6215.57), (6261.43, 6261.65),
    (6265.30, 6265.55), (6331.84, 6332.09), (6353.20, 6353.68), (6370.43, 6370.71), (6385.59, 6385.85),
    (6452.17, 6452.41), (6459.13, 6459.40), (6711.69, 6711.95),
)  # fmt: skip
_TOO_WEAK = (
    (3986.81, 3987.45), (3992.11, 3992.55), (4000.71, 4001.54), (4004.72, 4005.11), (4006.65, 4006.85),
    (4007.68, 4008.07), (4008.76, 4008.96), (4009.03, 4009.25), (4010.44, 4011.04), (4014.18, 4014.35),
    (4017.50, 4017.68), (4022.60, 4022.84), (4028.65, 4028.87), (4039.88, 4040.20), (4049.46, 4049.83),
    (4052.40, 4052.70), (4053.14, 4053.40), (4066.08, 4066.45), (4119.27, 4119.52), (4146.88, 4147.08),
    (4151.81, 4152.19), (4156.11, 4156.40), (4159.01, 4159.42), (4170.91, 4171.23), (4177.93, 4178.34),
    (4179.16, 4179.59), (4181.86, 4182.17), (4183.68, 4184.23), (4197.85, 4198.17), (4321.69, 4321.90),
    (5170.65, 5170.87), (5251.85, 5252.07), (5274.92, 5275.24), (5340.88, 5341.25), (5343.29, 5343.58),
    (5362.64, 5362.83), (5390.43, 5390.66), (5391.52, 5391.73), (5420.97, 5421.33), (5446.46, 5446.70),
    (5502.86, 5503.22), (5535.39, 5535.67), (5637.27, 5637.54), (5693.51, 5693.77),
)  # fmt: skip

# lower and upper end (air angstrom), reason
UNRELIABLE_WINDOWS: tuple[tuple[float, float, str], ...] = (
    (3932.7, 3934.7, "Ca II K core: formed out of LTE, in the chromosphere"),
    (3967.5, 3971.0, "Ca II H and H epsilon cores: formed out of LTE, in the chromosphere"),
    (4100.7, 4102.8, "H delta core: formed out of LTE"),
    (4197.0, 4216.2, "CN violet (0,1) band: as strong as carbon and nitrogen, which stars bring up from inside"),
    (4339.4, 4341.5, "H gamma core: formed out of LTE"),
    (5157.0, 5165.4, "C2 Swan (0,0) band head: goes with the square of carbon, too deep in the Sun"),
    (6561.3, 6564.3, "H alpha core: formed out of LTE, in the chromosphere"),
    *((lower, upper, "a line of the list that the Sun does not show") for lower, upper in _TOO_STRONG),
    *((lower, upper, "a line of the Sun that the list lacks") for lower, upper in _TOO_WEAK),
)
