#!/usr/bin/env bash
# Rebuild both potentials from nothing: two to three hours on two cores. Run in this folder, with efgmd[distill] installed.
# Every step can be interrupted and given again. Numbers differ in detail from the shipped files: SevenNet-0 labels are
# reproducible, molecular dynamics is chaotic.
set -euo pipefail
export OMP_NUM_THREADS=1
work=${1:-rebuild}
mkdir -p "$work"
elements="Pb I C N H"

# Round 0: short runs of the teacher itself, and perturbed copies of the frames that carry EFG labels.
test -e "$work/teacher.xyz" || python sample_teacher.py "$work/teacher.xyz" 0 18
python label.py ../data/efg_train.xyz.gz "$work/round0.xyz" --variants 4
cat "$work/teacher.xyz" "$work/round0.xyz" > "$work/train0.xyz"
efgmd train energy "$work/train0.xyz" -o "$work/energy0.safetensors" --elements "$elements" --minutes 6

# Rounds 1 to 4: the student samples, the teacher labels, the student learns.
for round in 1 2 3 4; do
  last=$((round - 1))
  frames="$work/student$round.xyz"
  test -e "$frames" || python sample_student.py "$work/energy$last.safetensors" "$frames" "$round" 8
  python label.py "$frames" "$work/round$round.xyz" --variants 1 --seed "$round"
  cat "$work/train$last.xyz" "$work/round$round.xyz" > "$work/train$round.xyz"
  minutes=$((round == 4 ? 14 : 10))
  efgmd train energy "$work/train$round.xyz" -o "$work/energy$round.safetensors" --elements "$elements" \
    --minutes "$minutes" --learning-rate 0.002 --initialise "$work/energy$last.safetensors"
done

# The force field with dispersion: the last model goes on learning, from the same labels plus D3.
test -e "$work/train_d3.xyz" || python add_dispersion.py "$work/train4.xyz" "$work/train_d3.xyz"
efgmd train energy "$work/train_d3.xyz" -o "$work/energy-d3.safetensors" --elements "$elements" --minutes 20 \
  --learning-rate 0.001 --initialise "$work/energy4.safetensors"

# The EFG model. Its data are not made anew, which takes days:
#   python sample_efg.py MODEL frames.xyz SEED RUNS [12|48 [COLDEST]]
#   efgmd label frames.xyz heavy.xyz --kpoints 1,1,4/2,-2,2/0,0,12:shifted --primitive 6.3,6.3,6.3 --cutoff 12
#   efgmd label frames.xyz light.xyz --kpoints 1,1,10/1,-1,12/0,0,8:shifted --primitive 6.3,6.3,6.3 --cutoff 30
#   python split_efg.py heavy.xyz ../data [train]
#   python replace_labels.py heavy.xyz ../data Pb I && python replace_labels.py light.xyz ../data N C H
test -e "$work/efg.safetensors" || efgmd train efg ../data/efg_train.xyz.gz \
  --validation ../data/efg_validation.xyz.gz --test ../data/efg_test.xyz.gz \
  -o "$work/efg.safetensors" --config efg.yaml --refit

# Stability and held-out accuracy: 50 ps of NPT at four temperatures, frames of which the teacher labels.
cp ../validation/in.stability ../validation/tetragonal384.data "$work"
for temperature in 150 250 350 450; do
  (cd "$work" && lmp -in in.stability -var T "$temperature" -var model energy4.safetensors -log "log.$temperature")
done
python held_out.py "$work/held_out.xyz" "$work"/frames.*.dump
python label.py "$work/held_out.xyz" "$work/held_out_labelled.xyz"
efgmd evaluate "$work/energy4.safetensors" "$work/held_out_labelled.xyz" -o "$work/evaluation"
python add_dispersion.py "$work/held_out_labelled.xyz" "$work/held_out_d3.xyz"
python held_out_errors.py "$work/energy-d3.safetensors" "$work/held_out_d3.xyz" "$work/results_d3.json" \
  "SevenNet-0 with D3(BJ), PBE parameters"
