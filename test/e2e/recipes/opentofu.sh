#!/usr/bin/env bash
# OpenTofu: state in the S3 backend with `use_lockfile`, which is a conditional write: of applies at once one gets the lock and all others say so; then the lock
# is free again. A lock of a process that was killed is forced. Workspaces; the state read back.
. "$(dirname "$0")/rig.sh" "$@"
go_module tofu github.com/opentofu/opentofu@v1.12.6 cmd/tofu
unset TF_CLI_CONFIG_FILE TF_DATA_DIR TF_LOG
export TF_IN_AUTOMATION=1 TF_INPUT=0 CHECKPOINT_DISABLE=1
tofu() { "$cache/bin/tofu" "-chdir=$work/$mode" "$@"; }
main() {
  mkdir -p "$work/$mode"
  cat >"$work/$mode/main.tf" <<TF
terraform {
  backend "s3" {
    bucket                      = "$bucket"
    key                         = "state/terraform.tfstate"
    region                      = "us-east-1"
    endpoints                   = { s3 = "$endpoint" }
    use_path_style              = true
    use_lockfile                = true
    custom_ca_bundle            = "$ca"
    skip_credentials_validation = true
    skip_region_validation      = true
    skip_requesting_account_id  = true
    skip_metadata_api_check     = true
  }
}
variable "n" { default = "0" }
resource "terraform_data" "slow" {
  input            = "$marker \${var.n}"
  triggers_replace = var.n
  provisioner "local-exec" { command = "sleep 6" }
}
output "input" { value = terraform_data.slow.output }
TF
}
init() { main; tofu init -no-color; }
apply() { tofu apply -no-color -auto-approve -var n=1; [ "$(tofu output -raw input)" = "$marker 1" ]; }
at_once() { # of four one changes the state
  local each won=0 locked=0
  for each in 2 3 4 5; do tofu apply -no-color -auto-approve -lock-timeout=0s -var n=$each >"$work/apply-$each" 2>&1 & done
  wait
  for each in 2 3 4 5; do
    ! grep -q 'Apply complete' "$work/apply-$each" || won=$((won + 1))
    ! grep -q 'Error acquiring the state lock' "$work/apply-$each" || locked=$((locked + 1))
  done
  [ "$won $locked" = '1 3' ] || { tail -n 5 "$work"/apply-[2-5]; false; }
}
waits() { # with a time to wait in, both are carried out
  tofu apply -no-color -auto-approve -var n=6 & sleep 2
  tofu apply -no-color -auto-approve -lock-timeout=120s -var n=7; wait
  [ "$(tofu output -raw input)" = "$marker 7" ]
}
forced() {
  tofu apply -no-color -auto-approve -var n=8 & sleep 4; pkill -KILL -f "chdir=$work/$mode apply"; wait || true
  tofu apply -no-color -auto-approve -lock-timeout=0s -var n=9 >"$work/refused" 2>&1 && return 1
  tofu force-unlock -force "$(grep -oE '[0-9a-f]{8}-[0-9a-f-]{27}' "$work/refused" | head -n 1)"
  tofu apply -no-color -auto-approve -var n=9; [ "$(tofu output -raw input)" = "$marker 9" ]
}
workspaces() {
  tofu workspace new other; tofu apply -no-color -auto-approve -var n=10; [ "$(tofu workspace list | grep -c other)" = 1 ]
  tofu workspace select default; [ "$(tofu output -raw input)" = "$marker 9" ]; tofu state pull | grep -q "$marker 9"
}
round() { step init init; step apply apply; step 'at once' at_once; step waits waits; step 'lock forced' forced; step workspaces workspaces; }
rounds round
row OpenTofu "$("$cache/bin/tofu" version | head -n 1 | grep -oE '[0-9.]+')" 'state with `use_lockfile`: of four applies at once one was carried out and three were locked out; one that waited; a lock left by a killed process forced; workspaces' '`endpoints`, `use_path_style`, `use_lockfile`; a store that enforces conditional writes; own authority: `custom_ca_bundle`'
