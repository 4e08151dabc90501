import { readFile } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { systemWords } from '../../diagnosis.ts'

/** What is wrong with a file that the configuration names, by option. */
export interface FileFault {
  readonly option: string
  readonly message: string
}

/** @param faults gets what is wrong with the file. @returns the text; empty for a file that cannot be read. */
export async function readPem(option: string, file: string, faults: FileFault[]): Promise<string> {
  try {
    const text = await readFile(file, 'utf8')
    if (!text.includes('-----BEGIN ')) faults.push({ option, message: `${file} has no PEM` })
    return text
  } catch (error) {
    faults.push({ option, message: `${file} cannot be read: ${systemWords(error)}` })
    return ''
  }
}

/** The content of a file with a credential. @throws Error with the path and the reason. */
export async function readCredential(file: string): Promise<string> {
  const text = await readFile(file, 'utf8').catch((error: unknown) => {
    throw new Error(`${file} cannot be read: ${systemWords(error)}`, { cause: error })
  })
  if (text.trim() === '') throw new Error(`${file} is empty.`)
  return text.trim()
}

/** What is wrong with a file that has a credential. */
export async function faultsOfFile(option: string, file: string): Promise<FileFault[]> {
  return readCredential(file).then(
    () => [],
    (error: unknown) => [{ option, message: (error as Error).message }]
  )
}

/** @param option that asks for the package. @returns nothing when an optional dependency can be loaded. */
export function packageFaults(option: string, name: string): FileFault[] {
  try {
    createRequire(import.meta.url).resolve(name)
    return []
  } catch {
    return [{ option, message: `needs the optional package ${name}, which is not installed: ${howToInstall(name)}` }]
  }
}

/** @param name of an optional package that is JavaScript alone. */
export function howToInstall(name: string): string {
  return `in a checkout run "npm ci", beside an installed package "npm install --global ${name}"`
}
