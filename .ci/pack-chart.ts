// Packs the Helm chart: node .ci/pack-chart.ts FILE. `helm package` puts the present time into what it makes; here the same files make the same bytes.
// Links are followed, and what .helmignore names stays out, because helm reads that file only when it packs itself. Needs GNU tar.
import { execFileSync } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import process from 'node:process'
import { gzipSync } from 'node:zlib'

const charts = join(import.meta.dirname, '..', 'docker', 'helm')
const [, , file] = process.argv
if (file === undefined) throw new Error('node .ci/pack-chart.ts FILE')
const ignored = readFileSync(join(charts, 'sealgate', '.helmignore'), 'utf8').split('\n').filter((line) => line !== '' && !line.startsWith('#'))
const tar = execFileSync('tar', [
  '--create',
  '--dereference',
  '--format=ustar',
  '--sort=name',
  '--mtime=@0',
  '--owner=0',
  '--group=0',
  '--numeric-owner',
  '--mode=u=rwX,go=rX',
  ...ignored.map((name) => `--exclude=${name.replace(/\/$/, '')}`),
  `--directory=${charts}`,
  'sealgate'
], { maxBuffer: 64 * 1024 * 1024 })
writeFileSync(file, gzipSync(tar, { level: 9 }))
