"""How fast this machine runs a model: measured, summed up, and compared with llama.cpp's own programs.

``ggufvlm bench --json`` prints one object. Its keys stay, new ones may come; ``schema`` counts changes of meaning.

::

    schema      1
    ggufvlm     version of this package
    machine     cpu, cores (physical, that the process may use), memory (bytes), system, python, gpus (names),
                load (running processes on average over the last minute, before the start; null where not known),
                llama_cpp_python, ggml, ggml_commit, features (what the CPU backend was built with)
    model       name; model, mmproj: each {file, bytes}; decode_bytes (read for one token), encode_flop (for one
                image), picture: {width, height, n_patches, n_tokens} as the projector gets it
    settings    repeat, n_tokens, n_threads, only (groups that ran) and the engine's own settings
    results     [{name, unit, median, min, max, n}]: n values, after one that was dropped
    ratios      with --against: [{name, against, ours, theirs, unit, ratio, min, max, n}]: ours and theirs are medians,
                ratio is the median of ours / theirs, run by run; below 1 is better for us in every row
    left_out    [text]: what could not be measured, and why

Results, by group (``--only``):

::

    encode        encode_image [ms], encode_1000_patches [ms]
    prefill       prefill [tokens/s]: 512 random tokens in one llama_decode call
    decode        decode_N [tokens/s]: N answers at a time through the whole engine, sum of all
                  llama_decode_N [tokens/s]: the same rows by llama_decode calls alone
                  overhead_N [%]: how much longer the engine's steps take than the llama_decode calls inside them
    first-token   first_token_cold, _warm, _disk [s]: a new process without caches, the same process with another
                  question about the image, a new process whose caches an earlier one filled
    batch         batch [images/s]: different images through VLM.map, 4 slots
    memory        memory_peak [MB]: largest resident size of a process that answers one question
    roofline      bandwidth [GB/s], arithmetic [GFLOP/s]: what memory and cores of this machine give
                  decode_of_bandwidth [%], encode_of_arithmetic [%]: how near the measured speeds come to them

Ratios (``--against``): cold_first_token, cold_whole [s] against llama-mtmd-cli; prefill, decode [ms/token] against
llama-bench; second_question (first token, same process), together_8 (all of 8 questions on one new image) [s] against
llama-server. Everybody gets the image as large as our projector gets it, and answers of the same length.
"""
