"""Full denoising loops of each scheduler with a cheap stand-in for the model, and the schedules themselves."""
import inspect
import logging

import diffusers
import numpy as np
import torch

from generate import channels_last, save

SHAPE = (2, 4, 3, 5)
STEPS = [1, 2, 3, 10, 20, 25, 50]
SPACINGS = ["linspace", "leading", "trailing"]
STABLE_DIFFUSION = {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012}
ALL = ["epsilon", "sample", "v_prediction"]
RESPACED = [{f"use_{kind}_sigmas": True} for kind in ("karras", "exponential", "beta")]
THRESHOLDED = {"thresholding": True, "sample_max_value": 1.5, "dynamic_thresholding_ratio": 0.9}
FLOW = {"use_flow_sigmas": True, "prediction_type": "flow_prediction"}
DYNAMIC = [({**FLOW, "use_dynamic_shifting": True, "time_shift_type": shift}, {"extra": {"mu": 1.2}}) for shift in ("exponential", "linear")]
BETALESS = {"IPNDMScheduler", "EDMEulerScheduler", "EDMDPMSolverMultistepScheduler", "FlowMatchEulerDiscreteScheduler"}
TRAINED = {"trained_betas": [0.01 * i / 100 for i in range(1, 101)], "num_train_timesteps": 100}


def snake_case(options):
    return {"".join(f"_{c.lower()}" if c.isupper() else c for c in key): value for key, value in options.items()}


def model(x, t):
    """What stands for the model: any smooth function will do that both sides compute alike."""
    return x * (0.9 * t / 1000) + 0.3 * x / (1 + x * x)


def variance(x):
    """What stands for the variance that some models predict in as many channels again."""
    return 0.05 * (1 + x / (1 + x * x))


def begun(name, config, tau=None):
    """tau: what tau_func gives, which no file can hold."""
    config = config if name in BETALESS else STABLE_DIFFUSION | config
    return config, getattr(diffusers, name).from_config(config if tau is None else config | {"tau_func": lambda t: tau})


def loop(name, config, steps=10, options=None, begin=None, extra=None, tolerance=1e-5, tau=None, exact=False):
    """Runs one loop; `steps` is a number, or {"timesteps": [...]} or {"sigmas": [...]}; begin: the step to start from;
    tolerance: how far diffusers' own rounding may lead it away; exact: its sigmas, and so its weights, are float64 for once."""
    torch.manual_seed(0)
    config, scheduler = begun(name, config, tau)
    wanted = {"num_inference_steps": steps} if isinstance(steps, int) else steps
    scheduler.set_timesteps(**{k: np.array(v) if k == "sigmas" else v for k, v in wanted.items()}, **snake_case(extra or {}))
    if exact:
        scheduler.sigmas = scheduler.sigmas.double()
    if begin is not None:
        scheduler.set_begin_index(begin)
    options, extra = options or {}, extra or {}
    arguments = snake_case(options)
    if "generator" in inspect.signature(scheduler.step).parameters:
        arguments["generator"] = torch.Generator().manual_seed(11)
    initial = float(getattr(scheduler, "init_noise_sigma", 1.0))
    sample = torch.randn(SHAPE, generator=torch.Generator().manual_seed(10)) * getattr(scheduler, "init_noise_sigma", 1.0)
    timesteps = scheduler.timesteps[begin or 0 :]
    recorded = sorted({0, len(timesteps) // 2, len(timesteps) - 1})
    samples = []
    for i, t in enumerate(timesteps):
        seen = scheduler.scale_model_input(sample, t) if hasattr(scheduler, "scale_model_input") else sample
        output = model(seen, float(t))
        if str(config.get("variance_type")).startswith("learned"):
            output = torch.cat([output, variance(seen)], 1)
        sample = scheduler.step(output, t, sample, **arguments).prev_sample
        if i in recorded:
            samples.append(sample)
    assert all(s.isfinite().all() for s in samples), (name, config, steps)
    case = {"config": config, "tau": tau, "steps": steps, "options": options, "begin": begin, "recorded": recorded,
            "extra": extra, "tolerance": tolerance, "initNoiseSigma": initial}
    tensors = {"samples": torch.stack([channels_last(s) for s in samples]), "timesteps": scheduler.timesteps.float()}
    if hasattr(scheduler, "sigmas"):
        tensors["sigmas"] = scheduler.sigmas[: len(scheduler.timesteps) + 1].float()
    return case, tensors


def noised(name):
    """add_noise at the timesteps 3 and 8, one for each sample, of the schedulers that have it."""
    _, scheduler = begun(name, {})
    if not hasattr(scheduler, "add_noise") and not hasattr(scheduler, "scale_noise"):
        return {}
    scheduler.set_timesteps(10)
    timesteps = scheduler.timesteps[[3, 8]]
    clean, noise = (torch.randn(SHAPE, generator=torch.Generator().manual_seed(s)) for s in (20, 21))
    noisy = scheduler.add_noise(clean, noise, timesteps) if hasattr(scheduler, "add_noise") else scheduler.scale_noise(clean, timesteps, noise)
    return {"noised": channels_last(noisy)}


def batches():
    """Steps of several timesteps at once; the second sample's is the last."""
    cases, tensors = [], {}
    sample, output = (torch.randn(SHAPE, generator=torch.Generator().manual_seed(s)) for s in (30, 31))
    for name, configs in {
        "DDIMParallelScheduler": [{"prediction_type": p} for p in ALL] + [{"set_alpha_to_one": False}, THRESHOLDED],
        "DDPMParallelScheduler": [{"prediction_type": p, "clip_sample": False} for p in ALL] + [{"variance_type": "learned"}],
    }.items():
        for config in configs:
            config, scheduler = begun(name, config)
            for options in [{}, {"useClippedModelOutput": True}] if name.startswith("DDIM") else [{}]:
                scheduler.set_timesteps(10)
                seen = torch.cat([output, variance(sample)], 1) if "variance_type" in config else output
                stepped = scheduler.batch_step_no_noise(seen, torch.tensor([700, 0]), sample, **snake_case(options))
                tensors[str(len(cases))] = channels_last(stepped)
                cases.append({"name": name, "config": config, "options": options})
    save("schedulers/batches", tensors, {"cases": cases, "timesteps": [700, 0]})


def combinations(predictions, *others, spacings=SPACINGS):
    """Step counts, then predictions x spacings, then everything else one by one."""
    cases = [({}, {"steps": n}) for n in STEPS]
    cases += [({"prediction_type": p} | ({"timestep_spacing": s, "steps_offset": 1} if s else {}), {}) for p in predictions for s in spacings]
    return cases + [other if isinstance(other, tuple) else (other, {}) for other in others]


def dpm_multistep():
    plain = [{"algorithm_type": a, "solver_order": o, "solver_type": s, "final_sigmas_type": "zero" if "++" in a else "sigma_min"}
             for a in ("dpmsolver", "dpmsolver++", "sde-dpmsolver", "sde-dpmsolver++") for o in (1, 2, 3) for s in ("midpoint", "heun")
             if (a, o) != ("sde-dpmsolver", 3) and (o == 2 or s == "midpoint")]
    return combinations(
        ALL, *plain, *[(p, {"steps": 20}) for p in plain], *RESPACED, {"use_lu_lambdas": True},
        *[{"algorithm_type": "dpmsolver", "final_sigmas_type": "sigma_min", "prediction_type": p} for p in ALL],
        {"use_karras_sigmas": True, "algorithm_type": "sde-dpmsolver++"}, {"euler_at_final": True, "final_sigmas_type": "sigma_min"},
        ({"lower_order_final": False, "final_sigmas_type": "sigma_min", "solver_order": 3}, {}), THRESHOLDED,
        {**THRESHOLDED, "algorithm_type": "dpmsolver", "final_sigmas_type": "sigma_min"},
        {"rescale_betas_zero_snr": True, "prediction_type": "v_prediction", "timestep_spacing": "trailing"},
        {"beta_schedule": "squaredcos_cap_v2", "lambda_min_clipped": -5.1}, ({"beta_schedule": "squaredcos_cap_v2", "use_karras_sigmas": True}, {"begin": 0}),
        {"use_flow_sigmas": True, "flow_shift": 3.0, "prediction_type": "flow_prediction"},
        ({}, {"steps": {"timesteps": [999, 850, 736, 645, 545, 455, 343, 233, 124, 24]}}), ({}, {"begin": 4}),
    )


CASES = {
    "PNDMScheduler": lambda: [({"skip_prk_steps": True, **c}, k) for c, k in combinations(
        ["epsilon", "v_prediction"], {"set_alpha_to_one": True}, {"beta_schedule": "linear", "beta_end": 0.02})]
        + [({}, {"steps": n}) for n in (4, 10, 20, 25, 50)]
        + [({"timestep_spacing": s, "prediction_type": "v_prediction", "steps_offset": 1}, {}) for s in SPACINGS],
    "DDIMScheduler": lambda: [({"clip_sample": False, **c}, k) for c, k in combinations(
        ALL, {"clip_sample": True}, {"clip_sample": True, "clip_sample_range": 2.0}, {"set_alpha_to_one": False, "steps_offset": 1}, THRESHOLDED,
        *[({"clip_sample": clip}, {"options": {"eta": eta}}) for eta in (0.4, 1.0) for clip in (False, True)],
        ({"clip_sample": True}, {"options": {"useClippedModelOutput": True, "eta": 0.5}}), {"beta_schedule": "linear"},
        {"beta_schedule": "squaredcos_cap_v2"}, 
        {"rescale_betas_zero_snr": True, "prediction_type": "v_prediction", "timestep_spacing": "trailing"})],
    "DPMSolverMultistepScheduler": dpm_multistep,
    "EulerDiscreteScheduler": lambda: combinations(
        ALL, *RESPACED, {"final_sigmas_type": "sigma_min"}, {"interpolation_type": "log_linear"}, {"beta_schedule": "linear"},
        {"use_karras_sigmas": True, "sigma_min": 0.05, "sigma_max": 12.0},
        {"timestep_type": "continuous", "prediction_type": "v_prediction", "use_karras_sigmas": True},
        {"rescale_betas_zero_snr": True, "prediction_type": "v_prediction", "timestep_spacing": "trailing"},
        ({}, {"options": {"sChurn": 5.0, "sTmin": 0.5, "sTmax": 10.0, "sNoise": 1.1}}),
        ({"prediction_type": "v_prediction"}, {"options": {"sChurn": 30.0}}),
        ({}, {"steps": {"timesteps": [999, 850, 736, 645, 545, 455, 343, 233, 124, 24]}}),
        ({}, {"steps": {"sigmas": [14.615, 6.475, 3.861, 2.697, 1.886, 1.396, 0.963, 0.652, 0.399, 0.152, 0.0]}}), ({}, {"begin": 4})),
    "DDPMScheduler": lambda: [({"clip_sample": False, **c}, k) for c, k in combinations(
        ALL, {"clip_sample": True}, THRESHOLDED, {"beta_schedule": "linear"}, {"beta_schedule": "laplace"}, {"beta_schedule": "sigmoid"},
        *[{"variance_type": v} for v in ("fixed_small_log", "fixed_large", "learned", "learned_range")],
        {"rescale_betas_zero_snr": True, "prediction_type": "v_prediction", "timestep_spacing": "trailing"},
        ({}, {"steps": {"timesteps": [999, 850, 600, 400, 100, 20]}}))],
    "UniPCMultistepScheduler": lambda: combinations(
        ALL, *[({"solver_order": o, "solver_type": s, "final_sigmas_type": f}, {"steps": n})  # bh1 cannot end at zero there
               for o in (1, 2, 3) for s, f in (("bh1", "sigma_min"), ("bh2", "zero")) for n in (10, 20)],
        *[{"predict_x0": False, "final_sigmas_type": "sigma_min", "prediction_type": p} for p in ALL],
        {"predict_x0": False, "final_sigmas_type": "sigma_min", "solver_order": 3}, {"disable_corrector": [0, 1]}, *RESPACED,
        *[{**r, "final_sigmas_type": "sigma_min"} for r in RESPACED], {"final_sigmas_type": "sigma_min", "lower_order_final": False},
        THRESHOLDED, {"use_karras_sigmas": True, "sigma_min": 0.05, "sigma_max": 12.0},
        {"rescale_betas_zero_snr": True, "prediction_type": "v_prediction", "timestep_spacing": "trailing"},
        {"use_flow_sigmas": True, "flow_shift": 3.0, "prediction_type": "flow_prediction"},
        {"use_flow_sigmas": True, "prediction_type": "flow_prediction", "shift_terminal": 0.02},
        ({"use_flow_sigmas": True, "prediction_type": "flow_prediction"}, {"steps": {"sigmas": [0.98, 0.9, 0.7, 0.5, 0.2, 0.1]}}),
        *DYNAMIC, ({}, {"begin": 4})),
    "DPMSolverSinglestepScheduler": lambda: [case for case in combinations(
        ALL, *[({"algorithm_type": a, "solver_order": o, "solver_type": s, "final_sigmas_type": f}, {"steps": n})
               for a, f in (("dpmsolver", "sigma_min"), ("dpmsolver++", "zero"), ("sde-dpmsolver++", "zero"))
               for o in (1, 2, 3) for s in ("midpoint", "heun") for n in (10, 11, 12) if o > 1 or (s, n) == ("midpoint", 10)],
        *[({"solver_order": o, "lower_order_final": lower, "final_sigmas_type": "sigma_min"}, {"steps": 12})
          for o in (1, 2, 3) for lower in (True, False)],
        *[{"algorithm_type": "dpmsolver", "final_sigmas_type": "sigma_min", "prediction_type": p} for p in ALL], *RESPACED, THRESHOLDED,
        {"beta_schedule": "squaredcos_cap_v2", "lambda_min_clipped": -5.1},
        {"use_flow_sigmas": True, "flow_shift": 3.0, "prediction_type": "flow_prediction"},
        ({}, {"steps": {"timesteps": [999, 850, 736, 645, 545, 455, 343, 233, 124, 24]}}), ({}, {"begin": 3}), spacings=[None])],
    "HeunDiscreteScheduler": lambda: combinations(
        ALL, *RESPACED, {"clip_sample": True}, {"beta_schedule": "exp"}, {"beta_schedule": "linear"},
        ({}, {"steps": {"timesteps": [999, 850, 736, 645, 545, 455, 343, 233, 124, 24]}}), ({}, {"begin": 4})),
    "LMSDiscreteScheduler": lambda: combinations(
        ALL, *RESPACED, {"beta_schedule": "linear"}, *[({}, {"options": {"order": o}}) for o in (1, 2, 3)], ({}, {"begin": 4})),
    "KDPM2DiscreteScheduler": lambda: combinations(["epsilon", "v_prediction"], *RESPACED, {"beta_schedule": "linear"}, ({}, {"begin": 4})),
    "KDPM2AncestralDiscreteScheduler": lambda: [(c, k | {"tolerance": 1e-4}) if k.get("steps") == 2 else (c, k) for c, k in combinations(
        ["epsilon", "v_prediction"], *RESPACED, {"beta_schedule": "linear"}, ({}, {"begin": 4}))],
    "DEISMultistepScheduler": lambda: combinations(
        ALL, *[({"solver_order": o}, {"steps": n}) for o in (1, 2, 3) for n in (10, 20)], {"lower_order_final": False, "solver_order": 3},
        *RESPACED, THRESHOLDED, ({"use_flow_sigmas": True, "flow_shift": 3.0, "prediction_type": "flow_prediction"}, {"tolerance": 1e-4}), ({}, {"begin": 4})),
    "LCMScheduler": lambda: [({}, {"steps": n}) for n in (1, 2, 3, 4, 8, 10, 50)] + [({"prediction_type": p}, {"steps": 4}) for p in ALL]
        + [({"clip_sample": True}, {"steps": 4}), (THRESHOLDED, {"steps": 4}), ({}, {"steps": 4, "extra": {"originalInferenceSteps": 100}}),
           ({"original_inference_steps": 30}, {"steps": 7}), ({"set_alpha_to_one": False}, {"steps": 4}),
           ({"rescale_betas_zero_snr": True, "prediction_type": "v_prediction"}, {"steps": 4}),
           ({}, {"steps": {"timesteps": [999, 759, 499, 259]}}), ({}, {"steps": 8, "begin": 3}), ({}, {"steps": 4, "extra": {"strength": 0.6}}),
           ({}, {"steps": {"timesteps": [999, 759, 499, 259]}, "extra": {"strength": 0.5}})],
    "TCDScheduler": lambda: [({}, {"steps": n}) for n in (1, 2, 3, 4, 8, 10, 50)]
        + [({"prediction_type": p}, {"steps": 4, "options": {"eta": e}}) for p in ALL for e in (0.0, 0.5, 1.0)]
        + [({}, {"steps": 4, "extra": {"originalInferenceSteps": 100}}), ({"original_inference_steps": 30}, {"steps": 7}),
           ({"rescale_betas_zero_snr": True, "prediction_type": "v_prediction"}, {"steps": 4}),
           ({}, {"steps": {"timesteps": [999, 759, 499, 259]}}), ({}, {"steps": 8, "begin": 3}), ({}, {"steps": 4, "extra": {"strength": 0.6}}),
           ({}, {"steps": {"timesteps": [999, 759, 499, 259]}, "extra": {"strength": 0.5}})],
    "EulerAncestralDiscreteScheduler": lambda: combinations(
        ["epsilon", "v_prediction"], {"rescale_betas_zero_snr": True, "prediction_type": "v_prediction", "timestep_spacing": "trailing"},
        {"beta_schedule": "linear"}, ({}, {"begin": 4})),
}

ENDED = [{**spacing, "sigma_min": 0.05, "sigma_max": 12.0} for spacing in RESPACED]  # from another scheduler's config: not all classes heed them
SOLVED = [{"solver_order": o, "solver_type": s, "algorithm_type": a} for a in ("dpmsolver", "dpmsolver++") for o in (1, 2, 3)
          for s in ("midpoint", "heun") if o == 2 or s == "midpoint"]
NO_SIGNAL = [({"rescale_betas_zero_snr": True, "timestep_spacing": "trailing", "clip_sample": True, "clip_sample_range": r}, {"steps": n})
             for r, n in ((1.0, 4), (2.0, 7))]  # epsilon prediction divides by 0 there

CASES |= {
    "DDIMInverseScheduler": lambda: [({"clip_sample": False, **c}, k) for c, k in combinations(
        ["epsilon", "v_prediction"], {"clip_sample": True}, {"clip_sample": True, "clip_sample_range": 2.0},
        {"set_alpha_to_one": False, "steps_offset": 1}, *[{"set_alpha_to_one": False, "prediction_type": "sample", "timestep_spacing": s}
                                                         for s in ("leading", "trailing")],  # which divides by 0 at alpha 1
        {"beta_schedule": "linear"}, {"beta_schedule": "squaredcos_cap_v2"},
        {"rescale_betas_zero_snr": True, "prediction_type": "v_prediction", "timestep_spacing": "trailing"}, spacings=["leading", "trailing"])],
    "DDIMParallelScheduler": lambda: [({}, {"steps": 10}), ({"clip_sample": False}, {"steps": 7, "options": {"eta": 0.5}})],
    "DDPMParallelScheduler": lambda: [({}, {"steps": 10}), ({"variance_type": "learned_range"}, {"steps": 7})],
    "DPMSolverMultistepInverseScheduler": lambda: [(c, k | {"exact": k.get("steps") == 1}) for c, k in combinations(
        ALL, *SOLVED, *[(c, {"steps": 20}) for c in SOLVED], *RESPACED, *[(c, {"steps": 17}) for c in RESPACED], *ENDED, THRESHOLDED,
        {**THRESHOLDED, "algorithm_type": "dpmsolver"}, {"euler_at_final": True}, {"lower_order_final": False, "solver_order": 3},
        *[{"algorithm_type": "dpmsolver", "prediction_type": p} for p in ALL], {"beta_schedule": "squaredcos_cap_v2", "use_karras_sigmas": True},
        *[{"beta_schedule": "squaredcos_cap_v2", "lambda_min_clipped": -5.1, "timestep_spacing": s} for s in SPACINGS],
        {**FLOW, "flow_shift": 3.0}, ({"num_train_timesteps": 20}, {"steps": 15}))],
    "IPNDMScheduler": lambda: [({}, {"steps": n}) for n in STEPS] + [({}, {"begin": 4}), ({"num_train_timesteps": 100}, {}),
        ({"trained_betas": [0.98, 0.9, 0.7, 0.4, 0.1, 0.0]}, {"steps": 5}), ({"trained_betas": [0.9, 0.5, 0.25, 0.0]}, {"steps": 20})],
    "SASolverScheduler": lambda: combinations(
        ALL, *RESPACED, *ENDED, THRESHOLDED, {"beta_schedule": "linear"}, *[({}, {"tau": t}) for t in (0.0, 0.6, 1.0)],
        *[{"algorithm_type": "noise_prediction", "prediction_type": p} for p in ALL], {"lower_order_final": False}, {**FLOW, "flow_shift": 3.0},
        *[({"predictor_order": p, "corrector_order": c, "algorithm_type": a, "lower_order_final": p != 3}, {"tau": t, "exact": True, "steps": 12})
          for p, c, t in ((1, 1, 0.3), (1, 4, 1.0), (2, 1, 0.5), (2, 3, 0.2), (3, 2, 1.0), (3, 3, 0.4), (4, 1, 0.7), (4, 4, 0.1))
          for a in ("data_prediction", "noise_prediction")],
        *[{"beta_schedule": "squaredcos_cap_v2", "lambda_min_clipped": -5.1, "timestep_spacing": s} for s in SPACINGS], ({}, {"begin": 4})),
}

EDM = [{"prediction_type": p, "sigma_schedule": s} for p in ("epsilon", "v_prediction") for s in ("karras", "exponential")]
EDM += [{"final_sigmas_type": "sigma_min"}, {"rho": 5.0}, {"sigma_min": 0.03, "sigma_max": 12.0}, {"num_train_timesteps": 60},
        {"sigma_min": 0.002, "sigma_max": 120.0, "sigma_data": 1.0, "sigma_schedule": "exponential", "prediction_type": "v_prediction"}]  # CosXL's

CASES |= {
    "EDMEulerScheduler": lambda: [({}, {"steps": n}) for n in STEPS] + [(c, {}) for c in EDM] + [({}, {"begin": 4}),
        ({}, {"options": {"sChurn": 5.0, "sTmin": 0.5, "sTmax": 10.0, "sNoise": 1.1}}), ({"prediction_type": "v_prediction"}, {"options": {"sChurn": 30.0}})],
    "EDMDPMSolverMultistepScheduler": lambda: [({}, {"steps": n}) for n in STEPS] + [(c, {}) for c in EDM] + [
        ({"solver_order": o, "solver_type": s, "algorithm_type": a}, {"steps": n}) for n in (10, 20) for o in (1, 2, 3) for s in ("midpoint", "heun")
        for a in ("dpmsolver++", "sde-dpmsolver++") if (a, o) != ("sde-dpmsolver++", 3)] + [(THRESHOLDED, {}), ({"euler_at_final": True}, {"steps": 20}),
        ({"lower_order_final": False, "solver_order": 3}, {}), ({}, {"begin": 4})],
    "FlowMatchEulerDiscreteScheduler": lambda: [({}, {"steps": n}) for n in STEPS] + [(c, {}) for c in (
        {"shift": 3.0}, {"num_train_timesteps": 100, "shift": 2.0}, {"shift": 3.0, "shift_terminal": 0.1}, {"invert_sigmas": True, "shift": 3.0},
        {"stochastic_sampling": True}, *RESPACED, {**RESPACED[0], "shift": 3.0})]
        + [({"use_dynamic_shifting": True, "time_shift_type": s, "shift": 3.0}, {"extra": {"mu": 1.2}}) for s in ("exponential", "linear")]
        + [({"use_dynamic_shifting": True, **c}, {"steps": {"sigmas": [1.0, 0.8, 0.55, 0.3, 0.1]}, "extra": {"mu": 0.7}}) for c in ({}, RESPACED[0])]
        + [({}, {"steps": {"timesteps": [1000, 800, 512.5, 300, 40]}}), ({"shift": 3.0}, {"steps": {"timesteps": [900, 500, 100]}}), ({}, {"begin": 4})],
}

MORE = {
    "DDIMScheduler": [*NO_SIGNAL, (NO_SIGNAL[0][0], {"options": {"useClippedModelOutput": True, "eta": 0.5}})],
    "DDPMScheduler": [{"clip_sample": True, "clip_sample_range": 2.0}, *NO_SIGNAL],
    "HeunDiscreteScheduler": [{"clip_sample": True, "clip_sample_range": 2.0}, *ENDED],
    "LMSDiscreteScheduler": ENDED,
    "UniPCMultistepScheduler": [({**FLOW, "use_karras_sigmas": True, **ends}, {"steps": n})
                                for ends, n in (({}, 8), ({"sigma_min": 0.05, "sigma_max": 12.0}, 7), ({"final_sigmas_type": "sigma_min", "sigma_max": 12.0}, 3))],
    "DEISMultistepScheduler": DYNAMIC[:1],
    "DPMSolverMultistepScheduler": DYNAMIC[:1],
    "DPMSolverSinglestepScheduler": DYNAMIC[:1],
    "LCMScheduler": [{"clip_sample": True, "clip_sample_range": 2.0}, {"timestep_scaling": 3.0}, {"timestep_spacing": "trailing", "steps_offset": 1},
                     {"beta_schedule": "squaredcos_cap_v2"}, *NO_SIGNAL],
    "TCDScheduler": [{"clip_sample": True, "clip_sample_range": 0.5}, THRESHOLDED, {"timestep_scaling": 3.0}, {"set_alpha_to_one": False},
                     {"timestep_spacing": "trailing", "steps_offset": 1}, {"beta_schedule": "squaredcos_cap_v2"}],
}


def all_cases(name):
    """Those of the class, and betas from a list."""
    more = [each if isinstance(each, tuple) else (each, {}) for each in [*MORE.get(name, []), *([] if name in BETALESS else [TRAINED])]]
    return CASES[name]() + [(config, {"steps": 8} | arguments) for config, arguments in more]


def spacings():
    """Timesteps for all small step counts: where NumPy's rounding shows."""
    tensors = {}
    for name, config in [("DDIMScheduler", {}), ("PNDMScheduler", {"skip_prk_steps": True}), ("DPMSolverMultistepScheduler", {}),
                         ("EulerDiscreteScheduler", {})]:
        for spacing in SPACINGS:
            scheduler = getattr(diffusers, name)(timestep_spacing=spacing, steps_offset=1, **config)
            lists = []
            for n in range(1, 65):
                scheduler.set_timesteps(n)
                lists.append(scheduler.timesteps.numpy().astype(np.float32))
            tensors[f"{name}.{spacing}"] = np.concatenate(lists)
    save("schedulers/spacings", tensors)


def configs():
    """The defaults, and configs that went from one scheduler to another by from_config: what differs from the second one's defaults."""
    defaults = {name: {k: v for k, v in getattr(diffusers, name)().config.items() if k != "_use_default_values"} for name in CASES}
    sources = [
        ("PNDMScheduler", {"skip_prk_steps": True, "steps_offset": 1, "clip_sample": False}),  # as Stable Diffusion 1.5 has it
        ("DDIMScheduler", {"clip_sample": False, "timestep_spacing": "trailing", "rescale_betas_zero_snr": True}),
        ("EulerDiscreteScheduler", {"use_karras_sigmas": True, "sigma_min": 0.1, "timestep_spacing": "leading"}),
        ("DPMSolverMultistepScheduler", {"solver_order": 3, "solver_type": "heun", "use_karras_sigmas": True, "euler_at_final": True}),
        ("UniPCMultistepScheduler", {"solver_type": "bh1", "predict_x0": True, "prediction_type": "v_prediction"}),
        ("LCMScheduler", {"original_inference_steps": 40, "beta_schedule": "linear"}),
    ]
    passed = []
    for name, options in sources:
        file = {"_class_name": name, **STABLE_DIFFUSION, **options}
        source = getattr(diffusers, name).from_config(file)
        for other in CASES:
            config = dict(getattr(diffusers, other).from_config(source.config).config)
            del config["_use_default_values"]
            changed = {k: v for k, v in config.items() if k not in defaults[other] or v != defaults[other][k]}
            passed.append({"file": file, "to": other, "config": changed})
    finite = {name: {k: None if v == -np.inf else v for k, v in config.items()} for name, config in defaults.items()}
    save("schedulers/configs", {}, {"defaults": finite, "passed": passed})


def generate():
    logging.getLogger("diffusers").setLevel(logging.ERROR)
    spacings()
    configs()
    batches()
    for name in CASES:
        meta, tensors = [], {}
        for i, (config, arguments) in enumerate(all_cases(name)):
            case, values = loop(name, config, **arguments)
            meta.append(case)
            tensors |= {f"{i}.{key}": value for key, value in values.items()}
        save(f"schedulers/{name}", tensors | noised(name), {"cases": meta})
