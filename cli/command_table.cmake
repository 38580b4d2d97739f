# Writes ${output}: AllCommands() over the command files that exist. commands/client_scan.cc defines
# ClientScanCommands(); the order of the help is the order of the main flow, then the alphabet.
function(write_command_table output)
  set(flow init identity site trust subscription sync export verify import rollup serve schedule job status log store)
  foreach(file IN LISTS ARGN)
    get_filename_component(noun ${file} NAME_WE)
    list(APPEND nouns ${noun})
  endforeach()
  set(ordered)
  foreach(noun IN LISTS flow)
    if(noun IN_LIST nouns)
      list(APPEND ordered ${noun})
      list(REMOVE_ITEM nouns ${noun})
    endif()
  endforeach()
  list(SORT nouns)
  list(APPEND ordered ${nouns})
  set(declarations "")
  set(calls "")
  foreach(noun IN LISTS ordered)
    string(REPLACE "_" ";" words ${noun})
    set(name "")
    foreach(word IN LISTS words)
      string(SUBSTRING ${word} 0 1 first)
      string(SUBSTRING ${word} 1 -1 rest)
      string(TOUPPER ${first} first)
      string(APPEND name ${first}${rest})
    endforeach()
    string(APPEND declarations "std::vector<Command> ${name}Commands();\n")
    string(APPEND calls "  add(${name}Commands());\n")
  endforeach()
  file(CONFIGURE OUTPUT ${output} @ONLY CONTENT
"#include \"cli/app.h\"

namespace gapferry::cli {

@declarations@
std::vector<Command> AllCommands() {
  std::vector<Command> all;
  [[maybe_unused]] const auto add = [&all](std::vector<Command> some) {
    for (Command& command : some) all.push_back(std::move(command));
  };
@calls@  return all;
}

}  // namespace gapferry::cli
")
endfunction()
