#include "tests/support/catalogue/localized.h"

#include <algorithm>
#include <array>

namespace gapferry::catalogue {
namespace {

struct Language {
  std::string_view code;
  std::string_view word;      ///< "update"
  std::string_view sentence;  ///< why to install it
};

constexpr std::array<Language, 24> kLanguages{{
    {"en", "Update",
     "Install this update to resolve issues in the product. For a complete listing of the issues "
     "that are included in this update, see the associated article. After you install this item, "
     "you may have to restart your computer."},
    {"de", "Aktualisierung",
     "Installieren Sie dieses Update, um Probleme im Produkt zu beheben. Eine vollständige Liste "
     "der behobenen Probleme finden Sie im zugehörigen Artikel. Möglicherweise müssen Sie den "
     "Computer anschließend neu starten."},
    {"fr", "Mise à jour",
     "Installez cette mise à jour pour résoudre des problèmes du produit. Après l’installation, il "
     "peut être nécessaire de redémarrer l’ordinateur."},
    {"ja", "更新プログラム",
     "この更新プログラムをインストールすると、製品の問題が解決されます。インストール後、"
     "コンピューターの再起動が必要になる場合があります。"},
    {"es", "Actualización",
     "Instale esta actualización para resolver problemas del producto. Es posible que tenga que "
     "reiniciar el equipo después."},
    {"ru", "Обновление",
     "Установите это обновление, чтобы устранить неполадки в продукте. После установки может "
     "потребоваться перезагрузка компьютера."},
    {"pt-br", "Atualização",
     "Instale esta atualização para resolver problemas do produto. Talvez seja necessário "
     "reiniciar "
     "o computador."},
    {"zh-cn", "更新程序", "安装此更新可解决产品中的问题。安装之后，可能必须重新启动计算机。"},
    {"it", "Aggiornamento", "Installare questo aggiornamento per risolvere problemi del prodotto."},
    {"pl", "Aktualizacja", "Zainstaluj tę aktualizację, aby rozwiązać problemy z produktem."},
    {"ko", "업데이트", "제품의 문제를 해결하려면 이 업데이트를 설치하십시오."},
    {"nl", "Update", "Installeer deze update om problemen in het product op te lossen."},
    {"ar", "تحديث", "قم بتثبيت هذا التحديث لحل المشكلات الموجودة في المنتج."},
    {"cs", "Aktualizace", "Nainstalujte tuto aktualizaci a vyřešte potíže s produktem."},
    {"da", "Opdatering", "Installer denne opdatering for at løse problemer i produktet."},
    {"el", "Ενημέρωση", "Εγκαταστήστε αυτή την ενημέρωση για να επιλύσετε ζητήματα του προϊόντος."},
    {"fi", "Päivitys", "Asenna tämä päivitys, niin saat tuotteen ongelmat ratkaistua."},
    {"he", "עדכון", "התקן עדכון זה כדי לפתור בעיות במוצר."},
    {"hu", "Frissítés", "Telepítse ezt a frissítést a termék hibáinak elhárításához."},
    {"no", "Oppdatering", "Installer denne oppdateringen for å løse problemer i produktet."},
    {"pt", "Atualização", "Instale esta atualização para resolver problemas do produto."},
    {"sv", "Uppdatering", "Installera uppdateringen för att lösa problem i produkten."},
    {"tr", "Güncelleştirme", "Üründeki sorunları çözmek için bu güncelleştirmeyi yükleyin."},
    {"zh-tw", "更新", "安裝此更新以解決產品中的問題。"},
}};

const Language& Find(std::string_view code) {
  const auto found = std::ranges::find(kLanguages, code, &Language::code);
  return found == kLanguages.end() ? kLanguages.front() : *found;
}

}  // namespace

std::vector<std::string_view> Languages(std::uint32_t count) {
  std::vector<std::string_view> codes;
  for (const Language& language : kLanguages) {
    if (codes.size() < count) codes.push_back(language.code);
  }
  std::ranges::sort(codes);
  return codes;
}

std::string LocalTitle(std::string_view language, std::string_view title) {
  std::string text(title);
  if (language != "en") text.append(" – ").append(Find(language).word);
  return text;
}

std::string LocalDescription(std::string_view language, std::string_view title) {
  std::string text = LocalTitle(language, title);
  text.append(": ").append(Find(language).sentence);
  return text;
}

}  // namespace gapferry::catalogue
