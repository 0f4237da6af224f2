import { availableDevices, type Device } from '../../lib/runtime/devices.js';

/** The native device of this machine that specs run on, if there is one. */
export async function findNative(): Promise<Device | undefined> {
  return (await availableDevices()).find(device => device === 'cuda' || device === 'cpu');
}
