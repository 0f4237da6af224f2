import * as classes from './classes.js';
import { knownRules } from './scheduler_config.js';

Object.assign(knownRules, classes);

export * from './classes.js';
export { commonName, fromCommonName, type NamedOptions, type NamedScheduler } from './common_names.js';
export type { DistilledConfig } from './distilled_scheduler.js';
export type { EDMConfig } from './edm_scheduler.js';
export { schedulerClass, schedulerClasses } from './registry.js';
export { Scheduler, type SchedulerClass } from './scheduler.js';
export type { SigmaSchedulerConfig } from './sigma_scheduler.js';
export type { Steps, TimestepsOptions } from './steps.js';
export type { PredictionType, SchedulerConfig, StepOptions, StepOutput } from './types.js';
