import { Orders } from './orders.ts'
import { exitCodes, type Platform } from './platform.ts'
import { version } from '../version.ts'

interface Command {
  readonly summary: string
  /** @param args what follows the name of the command. @returns the exit code. */
  run(args: readonly string[], platform: Platform): Promise<number>
}

/** Loaded when asked for: `keys` need not wait for the HTTP server, nor the other way round. */
const commands: Readonly<Record<string, Command>> = {
  serve: {
    summary: 'run the gateway: serve [--config FILE]; without a configuration, one to try it out',
    run: async (args, platform) => {
      const orders = new Orders(platform)
      const [{ serve }, { createGateway }] = await Promise.all([import('./serve.ts'), import('../gateway.ts')])
      return serve(args, platform, createGateway, orders)
    }
  },
  config: {
    summary: 'check a configuration: config check --config FILE',
    run: async (args, platform) => (await import('./config.ts')).runConfig(args, platform)
  },
  gc: {
    summary: 'remove what crashed multipart uploads have left: gc --config FILE [--dry-run] [--older-than-hours 24]',
    run: async (args, platform) => (await import('./gc.ts')).runGc(args, platform)
  },
  rewrap: {
    summary: 'wrap the keys of a bucket\'s objects anew: rewrap --config FILE --bucket NAME [--to KEYNAME] [--dry-run]',
    run: async (args, platform) => (await import('./rewrap.ts')).runRewrap(args, platform)
  },
  keys: {
    summary: 'make, list and rotate local master keys, and count what they seal: keys help',
    run: async (args, platform) => args[0] === 'usage'
      ? (await import('./usage.ts')).runUsage(args.slice(1), platform)
      : (await import('./keys.ts')).runKeys(args, platform)
  }
}

/** Runs the command that the arguments name. @returns the exit code. */
export async function runCommand(platform: Platform): Promise<number> {
  const [name = '', ...args] = platform.args
  if (name === '--version' || name === '-v') {
    platform.stdout.write(`sealgate ${version()}\n`)
    return exitCodes.done
  }
  const command = Object.hasOwn(commands, name) ? commands[name] : undefined
  if (command !== undefined) return command.run(args, platform)
  const asked = name === '--help' || name === '-h' || name === 'help'
  const out = asked ? platform.stdout : platform.stderr
  if (!asked && name !== '') out.write(`There is no command "${name}".\n\n`)
  out.write(usage())
  return asked ? exitCodes.done : exitCodes.usage
}

function usage(): string {
  const lines = Object.entries(commands).map(([name, { summary }]) => `  ${name.padEnd(8)} ${summary}`)
  return `Usage: sealgate COMMAND [options]\n\n${lines.join('\n')}\n\n  --help, --version\n\nSEALGATE_CONFIG names the configuration where --config does not.\n`
}
