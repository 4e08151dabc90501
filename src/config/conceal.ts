import { inspect } from 'node:util'

/** Options that are secrets, wherever they stand. */
const secrets: readonly string[] = ['secretAccessKey', 'sessionToken', 'token', 'secretId', 'pin', 'clientSecret', 'masterKey', 'privateKey']

/** Keeps the secrets of an object out of logs and dumps: both ways of printing it show stars. */
export function conceal<T extends object>(options: T): T {
  const shown = (): Record<string, unknown> =>
    Object.fromEntries(Object.entries(options).map(([name, value]: [string, unknown]) => [name, secrets.includes(name) && value !== null ? '******' : value]))
  return Object.defineProperties({ ...options }, { [inspect.custom]: { value: shown }, toJSON: { value: shown } })
}
